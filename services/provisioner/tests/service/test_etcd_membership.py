"""Lost members of etcd: another member's agent gives the place away, one at a time, and nothing else is disturbed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from slipway_chassis.inline_sqlite import an_inline_database
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.domain.model import Kind
from slipway_provisioner.etcd_membership import SILENT_AFTER
from slipway_provisioner.store import NodeRecord, metadata
from slipway_provisioner.store_etcd import EtcdPlace
from slipway_provisioner.testing.bench import Bench, Picture, a_bench, a_picture
from slipway_provisioner.testing.builders import a_cluster, a_region, a_row, rows_of

FIRST, SECOND, THIRD = (f"blue-etcd-{number}" for number in (1, 2, 3))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    """A cluster of 5+2+0 that came up."""
    return asyncio.run(_came_up(tmp_path_factory.mktemp("picture") / "bench.db"))


async def _came_up(file: Path) -> Picture:
    bench = a_bench(await an_inline_database(file, metadata))
    spec = a_cluster(etcd=5, controllers=2, workers=0)
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(15)
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}
    return await a_picture(bench, file)


@pytest.fixture
async def bench(picture: Picture, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench of its own that goes on from there."""
    bench = await picture.bench_in(tmp_path)
    yield bench
    await bench.database.close()


async def wanted(bench: Bench, **incarnations: int) -> None:
    """The healer's table: these incarnations of the members, by their numbers (n1, n2 ...); 1 of all others."""
    rows = [
        a_row(Role.ETCD, number, now=bench.clock.now(), incarnation=incarnations.get(f"n{number}", 1))
        for number in range(1, 6)
    ]
    await bench.table(Role.ETCD, *rows)


async def lost(bench: Bench, *numbers: int) -> None:
    """The servers of these members vanish, and the healer wants new ones."""
    for number in numbers:
        bench.cloud.vanish(bench.cloud.server_of(f"blue-etcd-{number}"))
    await wanted(bench, **{f"n{number}": 2 for number in numbers})


def plan_of(bench: Bench, name: str) -> dict[str, Any]:
    """What the agent of the node's present server got last."""
    return bench.agents[bench.cloud.server_of(name).cloud_id].plan


def command_of(bench: Bench, name: str) -> str:
    (unit,) = [
        action["content"]
        for step in plan_of(bench, name)["steps"]
        for action in step["actions"]
        if action["kind"] == "unit" and action["name"] == "etcd.service"
    ]
    return str(unit)


def steps_of(bench: Bench, name: str) -> list[str]:
    return [step["name"] for step in plan_of(bench, name)["steps"]]


def state(bench: Bench, name: str) -> NodeState:
    return bench.nodes()[name]


def all_up(bench: Bench) -> bool:
    return {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}


async def test_a_lost_members_place_is_given_to_its_new_server(bench: Bench) -> None:
    before = {name: command_of(bench, name) for name in (SECOND, THIRD)}
    bench.etcd.lagging.add(f"{FIRST}-2")
    await lost(bench, 1)
    await bench.pass_time(30)
    assert bench.etcd.changes == [f"add {FIRST}-2"]
    command = command_of(bench, FIRST)
    assert f"--name={FIRST}-2" in command
    assert "--initial-cluster-state=existing" in command
    assert all(f"{name}=https://" in command for name in (f"{FIRST}-2", SECOND, THIRD))
    assert f"{FIRST}=" not in command
    (helper,) = [
        name for name in bench.nodes() if f"etcd-promote-{FIRST}-2" in [s.name for s in state(bench, name).steps]
    ]
    assert state(bench, helper).waiting is not None
    bench.etcd.lagging.clear()
    await bench.pass_time(30)
    assert bench.etcd.changes == [f"add {FIRST}-2", f"promote {FIRST}-2"]
    assert all_up(bench)
    assert steps_of(bench, helper)[-1] == "etcd-quorum", "nothing is left of the change in the helper's plan"
    assert {name: command_of(bench, name) for name in before} == before, "no other member is started anew"


async def test_a_member_starts_only_when_etcd_has_room_for_it(bench: Bench) -> None:
    bench.etcd.refusing = {f"node-etcd-{number}" for number in range(1, 6)}
    await lost(bench, 1)
    await bench.pass_time(30)
    joining = state(bench, FIRST)
    assert joining.phase is NodePhase.CONFIGURING
    assert joining.waiting is not None
    assert joining.waiting.code == "WaitingForEtcdMembership"
    assert plan_of(bench, FIRST) == {}, "not even the plan of its old server"
    helping = [node for node in bench.nodes().values() if node.phase is NodePhase.FAILED]
    assert helping == [], "a change that fails is not the helper's own failure"
    bench.etcd.refusing.clear()
    await bench.pass_time(30)
    assert all_up(bench)


async def test_two_lost_members_come_back_one_after_the_other(bench: Bench) -> None:
    await lost(bench, 1, 2)
    await bench.pass_time(60)
    assert bench.etcd.changes in (
        [f"add {one}-2", f"promote {one}-2", f"add {other}-2", f"promote {other}-2"]
        for one, other in ((FIRST, SECOND), (SECOND, FIRST))
    )
    assert all_up(bench)


async def test_a_learner_that_somebody_removed_is_added_again(bench: Bench) -> None:
    bench.etcd.lagging.add(f"{FIRST}-2")
    await lost(bench, 1)
    await bench.pass_time(30)
    bench.etcd.forget(f"{FIRST}-2")
    bench.etcd.lagging.clear()
    await bench.pass_time(60)
    assert bench.etcd.changes == [f"add {FIRST}-2", f"add {FIRST}-2", f"promote {FIRST}-2"]
    assert all_up(bench)


async def test_another_member_helps_when_the_helper_is_lost(bench: Bench) -> None:
    bench.etcd.lagging.add(f"{FIRST}-2")
    await lost(bench, 1)
    await bench.pass_time(30)
    (helper,) = [name for name in bench.nodes() if "etcd-promote" in str(plan_of(bench, name)["steps"])]
    bench.cloud.vanish(bench.cloud.server_of(helper))
    await bench.pass_time(30)
    bench.etcd.lagging.clear()
    await bench.pass_time(30)
    assert bench.etcd.changes == [f"add {FIRST}-2", f"promote {FIRST}-2"]
    assert state(bench, FIRST).phase is NodePhase.PROVISIONED


async def test_a_member_lost_on_its_way_in_begins_anew_under_another_name(bench: Bench) -> None:
    bench.etcd.lagging.add(f"{FIRST}-2")
    await lost(bench, 1)
    await bench.pass_time(30)
    bench.cloud.vanish(bench.cloud.server_of(FIRST))
    await wanted(bench, n1=3)
    await bench.pass_time(40)
    assert bench.etcd.changes == [f"add {FIRST}-2", f"add {FIRST}-3", f"promote {FIRST}-3"]
    assert all_up(bench)


async def test_with_nobody_left_to_help_the_node_says_so(bench: Bench) -> None:
    await lost(bench, 1, 2, 3, 4, 5)
    await bench.pass_time(30)
    waiting = {node.waiting.code for node in bench.nodes().values() if node.row.role is Role.ETCD and node.waiting}
    assert waiting == {"NoHealthyEtcdMember"}
    assert bench.etcd.changes == []
    assert not any("initial-cluster-state=new" in str(agent.plan) for agent in _new_agents(bench)), (
        "data are not begun anew"
    )


async def test_members_whose_servers_were_stopped_are_started_while_another_one_is_lost(bench: Bench) -> None:
    bench.etcd.refusing = {f"node-etcd-{number}" for number in range(1, 6)}
    await lost(bench, 1)
    await bench.pass_time(15)
    assert state(bench, FIRST).phase is NodePhase.CONFIGURING
    for number in (2, 3, 4, 5):
        bench.cloud.force(bench.cloud.server_of(f"blue-etcd-{number}"), ServerState.STOPPED)
    bench.etcd.refusing.clear()
    await bench.pass_time(40)
    assert all_up(bench)
    assert bench.etcd.changes == [f"add {FIRST}-2", f"promote {FIRST}-2"]


def _new_agents(bench: Bench) -> list[Any]:
    living = {thing.cloud_id for thing in bench.cloud.of_kind(Kind.SERVER) if "-etcd-" in thing.order.name}
    return [agent for server_id, agent in bench.agents.items() if server_id in living]


ELSEWHERE = "http://elsewhere.invalid/"


async def a_new_plan_for_all(bench: Bench) -> str:
    """Every node's plan names another mirror; the first member of etcd that takes it does not end. Its name."""
    bench.slow.update(f"node-etcd-{number}" for number in range(1, 6))
    bench.region = a_region(mirror=ELSEWHERE)
    bench.start()
    bench.clock.step(bench.settings.node_check_every * 2)
    await bench.pass_time(15)
    (first,) = told(bench)
    return first


def told(bench: Bench) -> list[str]:
    members = [name for name, node in bench.nodes().items() if node.row.role is Role.ETCD]
    return [name for name in members if ELSEWHERE in str(plan_of(bench, name))]


async def test_members_of_etcd_take_a_new_plan_one_after_the_other(bench: Bench) -> None:
    first = await a_new_plan_for_all(bench)
    waiting = {node.waiting.code for node in bench.nodes().values() if node.row.role is Role.ETCD and node.waiting}
    assert waiting == {"WaitingForEtcdMembers"}
    async with bench.database.transaction() as session:
        record = await session.get(NodeRecord, state(bench, first).node_id)
        assert record is not None
        record.phase = NodePhase.FAILED.value
    await bench.pass_time(15)
    assert told(bench) == [first], "what failed at one is not done to the next"
    bench.slow.clear()
    await bench.pass_time(60)
    assert len(told(bench)) == 5
    assert all_up(bench)


async def test_a_member_helps_also_while_it_waits_for_its_own_turn(bench: Bench) -> None:
    first = await a_new_plan_for_all(bench)
    bench.slow = {state(bench, first).node_id}
    gone = SECOND if first != SECOND else THIRD
    await lost(bench, int(gone[-1]))
    await bench.pass_time(20)
    bench.clock.step(SILENT_AFTER)
    await bench.pass_time(40)
    assert bench.etcd.changes == [f"add {gone}-2", f"promote {gone}-2"]
    assert sorted(told(bench)) == sorted([first, gone]), "a new server begins with the newest plan"


async def test_the_address_of_a_lost_port_reaches_one_controller_after_the_other(bench: Bench) -> None:
    old = state(bench, FIRST).addresses[0]
    (port,) = [each for each in bench.cloud.of_kind(Kind.PORT) if each.order.mark.node_id == "node-etcd-1"]
    bench.cloud.vanish(port)
    await lost(bench, 1)
    await bench.pass_time(2)
    bench.slow.update(f"node-controller-{number}" for number in (1, 2))
    await bench.pass_time(30)
    new = state(bench, FIRST).addresses[0]
    assert new != old
    assert bench.etcd.former[f"{FIRST}-2"] == [f"https://{old}:2380"]
    told = [name for name in ("blue-controller-1", "blue-controller-2") if new in str(plan_of(bench, name))]
    assert len(told) == 1
    (other,) = {"blue-controller-1", "blue-controller-2"} - set(told)
    waiting = state(bench, other).waiting
    assert waiting is not None
    assert waiting.code == "WaitingForControllers"
    bench.slow.clear()
    await bench.pass_time(30)
    assert all(new in str(plan_of(bench, name)) for name in ("blue-controller-1", "blue-controller-2"))
    assert all_up(bench)


async def test_a_member_that_never_started_is_made_again_in_its_place(tmp_path: Path) -> None:
    bench = a_bench(await an_inline_database(tmp_path / "bench.db", metadata))
    spec = a_cluster(etcd=3, controllers=1, workers=0)
    bench.silent.add(FIRST)
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(15)
    bench.silent.clear()
    bench.cloud.vanish(bench.cloud.server_of(FIRST))
    rows = [a_row(Role.ETCD, n, now=bench.clock.now(), incarnation=2 if n == 1 else 1) for n in (1, 2, 3)]
    await bench.table(Role.ETCD, *rows)
    await bench.pass_time(30)
    assert all_up(bench)
    assert bench.etcd.changes == []
    command = command_of(bench, FIRST)
    assert f"--name={FIRST} " in command
    assert "--initial-cluster-state=new" in command
    async with bench.database.reading() as session:
        place = await session.get(EtcdPlace, "node-etcd-1")
    assert place is not None
    assert (place.incarnation, place.started) == (2, False)
    await bench.database.close()
