"""Started members of etcd that are lost: replaced one after the other, and never at the price of the majority."""

from datetime import timedelta

from slipway_contracts.healer import NodeRow
from slipway_contracts.monitor import Verdict
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import Role
from slipway_healer.stage import Stage

MINUTE = timedelta(minutes=1)
DEAD = {"etcd_peers": Verdict.UNHEALTHY, "agent": Verdict.UNHEALTHY, "server": Verdict.HEALTHY}
WELL = {"etcd_peers": Verdict.HEALTHY, "agent": Verdict.HEALTHY, "server": Verdict.HEALTHY}
COMING = {"phase": NodePhase.CONFIGURING, "server_state": ServerState.ACTIVE}


async def members(stage: Stage, count: int) -> list[str]:
    """A cluster with so many members, all of them started and well."""
    await stage.spec(a_cluster_spec(pools=[a_pool_spec(Role.ETCD, count)]))
    await stage.listing()
    await stage.region()
    await stage.act()
    await stage.etcd()
    return [row.node_id for row in stage.rows("pool-etcd")]


def row(stage: Stage, node_id: str) -> NodeRow:
    return next(each for each in stage.rows("pool-etcd") if each.node_id == node_id)


def codes(stage: Stage) -> list[str]:
    return [refusal.reason.code for refusal in stage.refusals("pool-etcd").refusals]


async def test_two_of_five_are_lost_at_once_and_replaced_one_after_the_other(stage: Stage) -> None:
    first, second, *_ = await members(stage, 5)
    await stage.etcd(first, second)
    for node_id in (first, second):
        await stage.node(node_id, server_state=ServerState.GONE)
    await stage.settle()
    assert (row(stage, first).incarnation, row(stage, second).incarnation) == (2, 1)
    assert codes(stage) == ["OneAtATime"]
    await stage.begin(row(stage, first), **COMING, active_at=stage.clock.now())
    await stage.etcd(second, first, learner=first)
    await stage.later(2 * MINUTE)
    assert row(stage, second).incarnation == 1
    await stage.node(first, phase=NodePhase.PROVISIONED, joined_at=stage.clock.now())
    await stage.health(first, **WELL)
    await stage.etcd(second)
    await stage.later(MINUTE)
    assert (row(stage, first).incarnation, row(stage, second).incarnation) == (2, 2)


async def test_a_dead_member_is_rebooted_once_and_then_replaced(stage: Stage) -> None:
    first, *_ = await members(stage, 3)
    await stage.etcd(first)
    stage.ill = {first: DEAD}
    await stage.later(6 * MINUTE)
    assert (row(stage, first).reboots, row(stage, first).incarnation) == (1, 1)
    await stage.later(6 * MINUTE)
    assert row(stage, first).incarnation == 2


async def test_a_member_that_others_reach_is_not_touched_for_its_silent_agent(stage: Stage) -> None:
    first, *_ = await members(stage, 3)
    stage.ill = {first: WELL | {"agent": Verdict.UNHEALTHY}}
    await stage.later(15 * MINUTE, step=5 * MINUTE)
    assert (row(stage, first).reboots, row(stage, first).incarnation) == (0, 1)
    assert codes(stage) == ["OneWitnessOnly"]


async def test_with_another_member_in_doubt_a_lost_one_waits_until_the_others_are_sure(stage: Stage) -> None:
    first, second, _ = await members(stage, 3)
    await stage.etcd(first, second)
    await stage.node(first, server_state=ServerState.GONE)
    await stage.settle()
    assert row(stage, first).incarnation == 1
    assert codes(stage) == ["EtcdQuorumAtRisk"]
    await stage.etcd(first)
    await stage.settle()
    assert row(stage, first).incarnation == 2
    assert codes(stage) == []
