"""Each machine of a control plane is lost, one after the other, while somebody writes through the endpoint."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from slipway_platform.testing import User, until
from tests.e2e.kubectl import Kubectl
from tests.writer import Writer, writing

CLUSTER = "survives"
CREATED_WITHIN, REPLACED_WITHIN, DELETED_WITHIN = 720.0, 420.0, 240.0
"""Seconds; several times what they take where nothing else runs."""

Say = Callable[[str], None]
Step = Callable[[str], AbstractContextManager[None]]


def test_every_member_and_controller_may_be_lost(user: User, kubectl: Kubectl, step: Step, say: Say) -> None:
    before = user.inventory()
    try:
        with step("slipway cluster create: 3 etcd, 2 controllers, 1 worker"):
            _create(user)
        user.slipway("cluster", "kubeconfig", CLUSTER, "--output", str(kubectl.kubeconfig))
        with writing(kubectl.kubeconfig) as writer:
            _lose_each(user, step, say, writer)
        say(f"          {writer}")
        assert writer.lost() == set()
        writer.close()
        assert len(kubectl.ready_nodes()) == 3
    finally:
        if any(each["name"] == CLUSTER for each in user.get("/v1/clusters")["items"]):
            with step("slipway cluster delete"):
                user.slipway("cluster", "delete", CLUSTER, "--yes", within=DELETED_WITHIN)
    assert user.inventory() - before == set()


def _create(user: User) -> None:
    user.slipway(
        "cluster", "create", CLUSTER, "--etcd", "3", "--controllers", "2", "--workers", "1", within=CREATED_WITHIN
    )


def _lose_each(user: User, step: Step, say: Say, writer: Writer) -> None:
    stable = sorted((node for node in user.nodes(CLUSTER) if node["role"] != "worker"), key=lambda node: node["name"])
    for lost in stable:
        failed = sum(writer.failures.values())
        with step(f"{lost['name']} lost its server and has another one"):
            user.cloud.compute.delete_server(lost["server_id"])
            _await_replacement(user, lost["id"], lost["incarnation"])
        say(f"          {sum(writer.failures.values()) - failed} requests failed meanwhile")


def _await_replacement(user: User, node_id: str, incarnation: int) -> None:
    def replaced() -> bool:
        nodes = user.nodes(CLUSTER)
        (node,) = (node for node in nodes if node["id"] == node_id)
        # all of them: the next loss comes when this one is mended
        return node["incarnation"] > incarnation and all(each["state"] == "ready" for each in nodes)

    until(replaced, "the node has another server, and all are ready", within=REPLACED_WITHIN)
