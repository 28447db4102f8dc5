"""A cluster's whole life on a real OpenStack: made, scaled, hurt in every way that this slice heals, deleted."""

import time
from pathlib import Path

import pytest

from slipway_platform.inventory import inventory
from slipway_platform.testing import until
from tests.openstack.desk import Desk

UNREADY_AFTER = 30
"""Seconds; the shortest that the API takes."""

BUILDS_FAIL = '{"oslab_spawn": "error"}'
"""Metadata by which the lab's hypervisor lets a build fail."""


@pytest.mark.openstack
@pytest.mark.timeout(1200)
def test_a_cluster_lives_on_a_real_cloud(desk: Desk, tmp_path: Path) -> None:
    before = inventory(desk.tenant.service)
    request = desk.request(
        tmp_path,
        etcd={"count": 5},
        controller={"count": 3},
        worker={"count": 3, "health": {"unready_after": UNREADY_AFTER}},
    )
    _step("create 5+3+3")
    desk.slipway("cluster", "create", desk.cluster, "--file", str(request))
    assert {row["state"] for row in desk.nodes().values()} == {"ready"}
    assert len(desk.nodes()) == 11
    servers_belong_to_the_project_and_were_made_by_the_service_user(desk)

    _step("scale to 6")
    desk.slipway("pool", "scale", desk.cluster, "worker", "6")
    assert len(desk.workers()) == 6

    _step("lose servers")
    lost_servers_are_replaced(desk)
    _step("fail builds")
    a_failed_build_is_made_again(desk)
    _step("lose hosts")
    lost_hosts_are_replaced_one_at_a_time_and_a_lost_agent_is_not(desk)

    _step("delete")
    desk.slipway("cluster", "delete", desk.cluster, "--yes")
    assert inventory(desk.tenant.service) - before == set()
    _step("end")


def servers_belong_to_the_project_and_were_made_by_the_service_user(desk: Desk) -> None:
    servers = list(desk.tenant.cloud.compute.servers())
    assert len(servers) == 11
    assert {server.user_id for server in servers} == {desk.tenant.service.current_user_id}


def lost_servers_are_replaced(desk: Desk) -> None:
    """A worker by a new node, a controller by a new server of the same node."""
    worker = desk.workers()[0]
    name, controller = next(iter(desk.nodes("controller").items()))
    for lost in (worker, name):
        desk.lose_server(lost)

    def controller_is_back() -> bool:
        now = desk.nodes("controller")[name]
        return now["state"] == "ready" and now["incarnation"] == 2 and now["addresses"] == controller["addresses"]

    until(lambda: worker not in desk.nodes() and len(desk.workers()) == 6, "the worker is replaced", within=180)
    until(controller_is_back, "the controller has a new server on its old port", within=180)


def a_failed_build_is_made_again(desk: Desk) -> None:
    """The operator's own metadata, which the provisioner puts on each new server, lets the builds fail for a while."""
    desk.restart_provisioner(server_metadata=BUILDS_FAIL)
    desk.slipway("pool", "scale", desk.cluster, "worker", "7", "--no-wait")
    until(lambda: desk.events("node.provisioning_failed"), "a build fails", within=120)
    desk.restart_provisioner()
    until(lambda: len(desk.workers()) == 7, "the failed build is made again", within=180)


def lost_hosts_are_replaced_one_at_a_time_and_a_lost_agent_is_not(desk: Desk) -> None:
    silent, *doomed = desk.workers()[:3]
    server = desk.nodes()[silent]["server_id"]
    desk.stop(silent, "agent")
    for name in doomed:
        desk.lose_host(name)
    refusals: set[str] = set()

    def all_replaced() -> bool:
        refusals.update(desk.refusals())
        nodes = desk.nodes("worker")
        coming = [name for name, row in nodes.items() if row["replaces"] and row["state"] != "ready"]
        assert len(coming) <= 1, f"{coming} come at once"
        return not set(doomed) & set(nodes) and len(nodes) == 7 and not coming

    until(all_replaced, "both hosts' nodes are replaced", within=240)
    assert "OneAtATime" in refusals

    def agent_is_missed() -> bool:
        witnesses = {each["name"]: each["verdict"] for each in desk.ask(f"/nodes/{silent}")["witnesses"]}
        return witnesses == {"kubernetes": "healthy", "server": "healthy", "agent": "unhealthy"}

    until(agent_is_missed, "the agent is missed", within=180)
    until(lambda: "OneWitnessOnly" in desk.refusals(), "the healer says why it does nothing", within=60)
    time.sleep(UNREADY_AFTER)
    assert desk.nodes()[silent]["server_id"] == server
    assert "OneWitnessOnly" in desk.refusals()


def _step(title: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {title}", flush=True)
