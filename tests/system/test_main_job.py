"""The main job, as a user has it: a cluster by one command, a lost server replaced, scaled, deleted."""

from pathlib import Path

import pytest

from slipway_platform.testing import User, until
from tests.system import cluster_api

pytestmark = pytest.mark.timeout(240)


def workers(user: User, cluster: str) -> dict[str, str]:
    """State by name."""
    return {each["name"]: each["state"] for each in user.nodes(cluster) if each["role"] == "worker"}


def test_the_handed_out_kubeconfig_shows_ready_nodes(user: User, standing: str, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    user.slipway("cluster", "kubeconfig", standing, "-o", str(path))
    with cluster_api.opened(path) as client:
        nodes = cluster_api.got(client, "/api/v1/nodes")["items"]
    expected = {each["name"] for each in user.nodes(standing) if each["role"] != "etcd"}
    assert {each["metadata"]["name"] for each in nodes if cluster_api.is_ready(each)} == expected


def test_a_workers_lost_server_is_replaced_without_being_asked(user: User, standing: str) -> None:
    (lost,) = workers(user, standing)
    server = user.cloud.compute.find_server(lost, ignore_missing=False)
    user.cloud.compute.delete_server(server.id)

    def replaced() -> dict[str, str] | None:
        now = workers(user, standing)
        return now if lost not in now and list(now.values()) == ["ready"] else None

    (replacement,) = until(replaced, "another worker is ready in its place", 150)
    assert user.cloud.compute.find_server(replacement, ignore_missing=False).id != server.id


def test_a_pool_is_scaled_up_and_down(user: User, standing: str) -> None:
    user.slipway("pool", "scale", standing, "worker", "2")
    assert list(workers(user, standing).values()) == ["ready", "ready"]
    user.slipway("pool", "scale", standing, "worker", "1")
    left = workers(user, standing)
    assert list(left.values()) == ["ready"]
    named = {each.name for each in user.cloud.compute.servers() if "-worker-" in each.name}
    assert named == set(left)


def test_a_deleted_cluster_leaves_nothing_in_the_cloud(user: User, small: tuple[str, ...]) -> None:
    before = user.inventory()
    user.slipway("cluster", "create", "short", *small, "--no-wait")
    until(lambda: len(user.inventory() - before) > 3, "its parts appear in the cloud", 90)
    user.slipway("cluster", "delete", "short", "--yes")
    assert user.inventory() == before
