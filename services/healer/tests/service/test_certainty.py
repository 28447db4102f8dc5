"""What the healer does not do while it does not know: lists, restarts, regions; and what it never says twice."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from slipway_chassis import crash
from slipway_chassis.clock import SteppingClock
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_contracts.healer import Gate, PoolRefusals, Wanted
from slipway_contracts.monitor import Verdict
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import NodePhase, NodeProvisioned, ServerState
from slipway_contracts.resync import ResyncRequested
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import Mover, Reason, Role
from slipway_healer.app import Parts, build_service
from slipway_healer.settings import Settings
from slipway_healer.stage import Stage
from slipway_healer.store import DecisionRecord, metadata

MINUTE = timedelta(minutes=1)


async def a_small_cluster(stage: Stage) -> None:
    await stage.spec(a_cluster_spec(pools=[a_pool_spec(Role.WORKER, 3)]))
    await stage.listing()
    await stage.region()
    await stage.act()


async def restarted(stage: Stage, clock: SteppingClock) -> Stage:
    """Another process on the same database, a second later."""
    clock.step(timedelta(seconds=1))
    healer = build_service(
        Settings(region="tokyo"), Parts(clock=clock, database=stage.healer.database, random=random.Random(2))
    )
    await healer.start()
    again = Stage(healer, clock)
    again.nodes, again.said, again.sequence = stage.nodes, stage.said, stage.sequence
    again.documents = stage.documents
    return again


async def test_a_new_process_makes_nothing_before_it_has_the_list_again(stage: Stage, clock: SteppingClock) -> None:
    await a_small_cluster(stage)
    stage = await restarted(stage, clock)
    asked = stage.asked_for_lists()
    await stage.settle()
    assert stage.asked_for_lists() == asked + 1
    victim = stage.rows("pool-worker")[0].node_id
    await stage.node(victim, server_state=ServerState.GONE)
    await stage.settle()
    assert {row.wanted for row in stage.rows("pool-worker")} == {Wanted.PRESENT}
    assert [refusal.gate for refusal in stage.refusals("pool-worker").refusals] == [Gate.LISTED]
    await stage.listing()
    await stage.settle()
    assert [row.node_id for row in stage.rows("pool-worker") if row.wanted is Wanted.REMOVED] == [victim]
    assert stage.refusals("pool-worker").refusals == ()


async def test_a_list_that_does_not_come_is_asked_for_again_now_and_then(stage: Stage) -> None:
    await stage.spec(a_cluster_spec())
    await stage.settle()
    await stage.later(timedelta(seconds=70), step=timedelta(seconds=5), observed=False)
    asked = [event for event in stage.said if isinstance(event, ResyncRequested) and event.data.cluster_id == "c1"]
    assert len(asked) == 3


async def test_a_node_whose_joining_was_said_and_not_heard_is_not_made_again(
    stage: Stage, clock: SteppingClock
) -> None:
    await stage.spec(a_cluster_spec(pools=[a_pool_spec(Role.ETCD, 1)]))
    await stage.listing()
    await stage.settle()
    [row] = stage.rows("pool-etcd")
    await stage.begin(row, phase=NodePhase.CONFIGURING, server_state=ServerState.ACTIVE, active_at=clock.now())
    # the message that it is provisioned is lost: only a list tells of it
    joined = stage.nodes[row.node_id].model_copy(update={"phase": NodePhase.PROVISIONED, "joined_at": clock.now()})
    subject = f"clusters/c1/nodes/{row.node_id}"
    unheard = stage.event(NodeProvisioned, "provisioner/tokyo", subject, joined)
    asked = stage.asked_for_lists()
    await stage.later(11 * MINUTE, step=timedelta(seconds=30))
    assert [each.incarnation for each in stage.rows("pool-etcd")] == [1]
    assert stage.asked_for_lists() > asked
    stage.documents[subject] = unheard.model_dump(mode="json", exclude_none=True)
    await stage.listing()
    await stage.later(11 * MINUTE, step=timedelta(seconds=30))
    assert [each.incarnation for each in stage.rows("pool-etcd")] == [1]


async def test_a_node_that_never_joined_is_made_again_once_a_list_says_so(stage: Stage, clock: SteppingClock) -> None:
    await stage.spec(a_cluster_spec(pools=[a_pool_spec(Role.ETCD, 1)]))
    await stage.listing()
    await stage.settle()
    [row] = stage.rows("pool-etcd")
    await stage.begin(row, phase=NodePhase.CONFIGURING, server_state=ServerState.ACTIVE, active_at=clock.now())
    await stage.later(11 * MINUTE, step=timedelta(seconds=30))
    assert [each.incarnation for each in stage.rows("pool-etcd")] == [1]
    await stage.listing()
    await stage.later(MINUTE, step=timedelta(seconds=10))
    assert [each.incarnation for each in stage.rows("pool-etcd")] == [2]


async def test_a_lost_database_is_rebuilt_from_what_the_others_say(
    stage: Stage, clock: SteppingClock, tmp_path: Path
) -> None:
    await a_small_cluster(stage)
    rows = stage.rows("pool-worker")
    database = await an_inline_database(tmp_path / "empty.db", metadata)
    stage.healer = build_service(Settings(region="tokyo"), Parts(clock, database, random.Random(3)))
    await stage.healer.start()
    await stage.spec(a_cluster_spec(generation=2, pools=[a_pool_spec(Role.WORKER, 3)]))
    await stage.listing()
    await stage.settle()
    assert {row.node_id for row in stage.rows("pool-worker")} == {row.node_id for row in rows}
    assert {row.name for row in stage.rows("pool-worker")} == {row.name for row in rows}
    await database.close()


async def test_a_refusal_ends_as_soon_as_the_region_is_seen_again(stage: Stage) -> None:
    await a_small_cluster(stage)
    await stage.later(MINUTE, observed=False)
    victim = stage.rows("pool-worker")[0].node_id
    await stage.node(victim, server_state=ServerState.GONE)
    await stage.settle()
    (refusal,) = stage.refusals("pool-worker").refusals
    assert (refusal.gate, refusal.reason.whose_move) == (Gate.KNOWN, Mover.OPERATOR)
    await stage.region()
    await stage.settle()
    assert victim in {row.node_id for row in stage.rows("pool-worker") if row.wanted is Wanted.REMOVED}


async def test_a_lost_agent_alone_replaces_nothing_and_is_said_once(stage: Stage) -> None:
    await a_small_cluster(stage)
    victim = stage.rows("pool-worker")[0].node_id
    stage.ill[victim] = {"kubernetes": Verdict.HEALTHY, "agent": Verdict.UNHEALTHY, "server": Verdict.HEALTHY}
    await stage.later(12 * MINUTE, step=2 * MINUTE)
    assert all(row.wanted is Wanted.PRESENT and not row.reboots for row in stage.rows("pool-worker"))
    (refusal,) = stage.refusals("pool-worker").refusals
    assert (refusal.gate, refusal.node_id) == (Gate.WITNESSES, victim)
    said = [event for event in stage.said if isinstance(event.data, PoolRefusals)]
    assert len(said) <= 6


async def test_a_decision_is_kept_with_its_inputs_only_when_it_differs(stage: Stage) -> None:
    await a_small_cluster(stage)
    stage.ill[stage.rows("pool-worker")[0].node_id] = {"kubernetes": Verdict.UNHEALTHY, "agent": Verdict.UNHEALTHY}
    await stage.later(4 * MINUTE, step=2 * MINUTE)
    async with stage.healer.database.reading() as session:
        kept = (await session.execute(select(DecisionRecord))).scalars().all()
    assert [record.summary.partition(" ")[0] for record in sorted(kept, key=lambda each: each.decided_at)] == [
        "make",
        "refuse",
    ]
    (node, *_) = kept[-1].inputs["nodes"]
    assert node["witnesses"] == {"kubernetes": "unhealthy", "agent": "unhealthy"}


async def test_an_operation_is_blocked_while_a_person_must_act(stage: Stage) -> None:
    await a_small_cluster(stage)
    quota = Reason(code="QuotaExceeded", message="The quota of cores is used up.", whose_move=Mover.USER)
    await stage.spec(a_cluster_spec(generation=2, pools=[a_pool_spec(Role.WORKER, 4)]))
    await stage.settle()
    (new,) = [row for row in stage.rows("pool-worker") if row.node_id not in stage.nodes]
    await stage.begin(new, phase=NodePhase.CREATING, waiting=quota)
    await stage.settle()
    assert stage.operation("operation-2").state is OperationState.BLOCKED
    assert stage.operation("operation-2").cause == quota
    await stage.begin(new, phase=NodePhase.CREATING)
    await stage.settle()
    assert stage.operation("operation-2").state is OperationState.RUNNING


async def test_a_quiet_cluster_is_quiet(stage: Stage) -> None:
    await a_small_cluster(stage)
    words = len(stage.said)
    await stage.later(8 * MINUTE, step=2 * MINUTE)
    later = [event for event in stage.said[words:] if "facts" not in event.subject]
    assert later == []


async def test_the_users_request_is_named_in_all_that_follows_from_it(stage: Stage) -> None:
    await a_small_cluster(stage)
    followed = [event for event in stage.said if event.subject.startswith(("clusters/c1/pools", "operations/"))]
    assert followed
    assert {event.correlationid for event in followed} == {"request-1"}


def kill_at(passage: int) -> Callable[[str], None]:
    """A hook that kills the process at the n-th point it passes."""
    passed = iter(range(1, 1000))

    def hook(name: str) -> None:
        if next(passed) == passage:
            raise crash.Crashed(name)

    return hook


async def test_killed_between_any_two_commits_it_replaces_a_node_exactly_once(
    stage: Stage, clock: SteppingClock
) -> None:
    await a_small_cluster(stage)
    killed, passage = True, 0
    while killed:
        passage += 1
        victim = next(row.node_id for row in stage.rows("pool-worker") if row.wanted is Wanted.PRESENT)
        killed = await _survives(stage, victim, passage)
        stage = await restarted(stage, clock)
        clock.step(Settings().lease_for)
        await stage.listing()
        await stage.region()
        await stage.node(victim)
        await stage.settle()
        assert [row.replaces for row in stage.rows("pool-worker") if row.replaces == victim] == [victim]
        await stage.act()
        assert len(stage.rows("pool-worker")) == 3
    assert passage > 8


async def _survives(stage: Stage, victim: str, passage: int) -> bool:
    """Lose a server, and kill the healer at this passage of a commit or effect; False when it finished before that."""
    crash.arm(kill_at(passage))
    try:
        await stage.node(victim, server_state=ServerState.GONE)
        await stage.settle()
    except crash.Crashed:
        return True
    finally:
        crash.arm(None)
    return False


async def test_a_round_of_the_region_costs_nothing_where_nothing_waits_for_it(stage: Stage) -> None:
    await a_small_cluster(stage)
    await stage.settle()
    for trusted in (True, False, True):
        await stage.region(trusted=trusted)
        assert not await stage.healer.work_once()


async def test_only_a_trusted_round_wakes_what_was_refused_in_a_suspect_region(stage: Stage) -> None:
    await a_small_cluster(stage)
    await stage.region(trusted=False)
    victim = stage.rows("pool-worker")[0].node_id
    await stage.node(victim, server_state=ServerState.GONE)
    await stage.settle()
    assert [refusal.gate for refusal in stage.refusals("pool-worker").refusals] == [Gate.KNOWN]
    await stage.region(trusted=False)
    assert not await stage.healer.work_once()
    await stage.region()
    await stage.settle()
    assert [row.node_id for row in stage.rows("pool-worker") if row.wanted is Wanted.REMOVED] == [victim]


async def test_a_cluster_that_was_not_seen_waits_for_a_round_that_sees_it(stage: Stage) -> None:
    await a_small_cluster(stage)
    await stage.region(unseen=["c1"])
    await stage.spec(a_cluster_spec(generation=2, pools=[a_pool_spec(Role.WORKER, 2)]))
    await stage.settle()
    assert [refusal.gate for refusal in stage.refusals("pool-worker").refusals] == [Gate.KNOWN]
    await stage.region(unseen=["c1"])
    assert not await stage.healer.work_once()
    await stage.region()
    await stage.settle()
    assert len([row for row in stage.rows("pool-worker") if row.wanted is Wanted.REMOVED]) == 1


async def test_decisions_are_kept_for_thirty_days_and_those_of_a_former_pool_no_longer(
    stage: Stage, clock: SteppingClock
) -> None:
    controllers, workers = a_pool_spec(Role.CONTROLLER, 1), a_pool_spec(Role.WORKER, 1)
    await stage.spec(a_cluster_spec(pools=[controllers, workers]))
    await stage.listing()
    await stage.region()
    await stage.act()
    await stage.spec(a_cluster_spec(generation=2, pools=[controllers]))
    await stage.act()
    assert await decided_pools(stage) == {"pool-controller", "pool-worker"}
    clock.step(timedelta(days=31))
    await stage.spec(a_cluster_spec(generation=3, pools=[a_pool_spec(Role.CONTROLLER, 2)]))
    await stage.act()
    assert await decided_pools(stage) == {"pool-controller"}


async def decided_pools(stage: Stage) -> set[str]:
    async with stage.healer.database.reading() as session:
        return {each.pool_id for each in (await session.execute(select(DecisionRecord))).scalars()}


async def test_a_cluster_without_a_spec_is_not_looked_at_again_and_again(stage: Stage) -> None:
    await stage.infrastructure()
    await stage.settle()
    due_in = await stage.healer.next_due()
    assert due_in is not None
    assert due_in > 2 * Settings(region="tokyo").look_every, "only the resync is left"
    await a_small_cluster(stage)
    assert len(stage.rows("pool-worker")) == 3
