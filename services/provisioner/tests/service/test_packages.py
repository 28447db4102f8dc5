"""Packages that are added to a region's table of releases, and which running nodes hear of them."""

from dataclasses import replace
from typing import Any

from slipway_chassis.releases import OPTIONAL_PACKAGES
from slipway_contracts.provisioner import NodePhase
from slipway_provisioner.testing.bench import Bench, up
from slipway_provisioner.testing.builders import some_releases

WORKER, CONTROLLER, ETCD = (f"blue-{role}-1" for role in ("worker", "controller", "etcd"))


async def add_packages(bench: Bench) -> None:
    """The operator's new releases.yaml is read by a new process, and a minute goes by."""
    bench.releases = some_releases(*OPTIONAL_PACKAGES)
    bench.start()
    await bench.pass_time(75)


def plan_of(bench: Bench, name: str) -> dict[str, Any]:
    """What the node's agent got last."""
    server = bench.nodes()[name].server_id
    assert server is not None
    return bench.agents[server].plan


def packages_of(plan: dict[str, Any]) -> list[str]:
    return [action["name"] for step in plan["steps"] for action in step["actions"] if action["kind"] == "package"]


async def test_running_nodes_get_them_in_place_and_etcds_nothing(bench: Bench) -> None:
    await up(bench)
    servers = {name: node.server_id for name, node in bench.nodes().items()}
    etcd = plan_of(bench, ETCD)
    await add_packages(bench)
    assert packages_of(plan_of(bench, WORKER)) == packages_of(plan_of(bench, CONTROLLER)) == list(OPTIONAL_PACKAGES)
    assert plan_of(bench, ETCD) == etcd
    assert {name: node.server_id for name, node in bench.nodes().items()} == servers
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}


async def test_an_agent_that_does_not_know_them_keeps_its_plan(bench: Bench) -> None:
    bench.agent_version = "0.1.0"
    await up(bench)
    before = {name: plan_of(bench, name) for name in (WORKER, CONTROLLER, ETCD)}
    await add_packages(bench)
    assert {name: plan_of(bench, name) for name in before} == before


async def test_a_controller_beside_a_kubelet_that_is_too_old_keeps_its_plan(bench: Bench) -> None:
    await up(bench)
    before = plan_of(bench, CONTROLLER)
    endpoint = bench.infrastructure().endpoint
    assert endpoint is not None
    nodes = bench.kubernetes.at(endpoint).nodes
    nodes[WORKER] = replace(nodes[WORKER], kubelet_version="v1.32.4")
    await bench.pass_time(75)
    await add_packages(bench)
    assert plan_of(bench, CONTROLLER) == before
    assert packages_of(plan_of(bench, WORKER)) == list(OPTIONAL_PACKAGES)
    nodes[WORKER] = replace(nodes[WORKER], kubelet_version="v1.36.3")
    await bench.pass_time(75)
    assert packages_of(plan_of(bench, CONTROLLER)) == list(OPTIONAL_PACKAGES)
