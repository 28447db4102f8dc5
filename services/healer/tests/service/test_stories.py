"""Whole stories: what the healer decided, minute by minute, compared with a log that a person can read.

After an intended change run it with SLIPWAY_UPDATE_GOLDEN=1, and read the difference.
"""

import os
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from sqlmodel import col

from slipway_chassis.clock import SteppingClock
from slipway_contracts.healer import NodeRow
from slipway_contracts.monitor import Verdict
from slipway_contracts.provisioner import NodePhase, NodeProvisioningFailed, ServerState
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import Mover, Reason, Role
from slipway_healer.stage import Stage
from slipway_healer.store import DecisionRecord

GOLDEN = Path(__file__).parent / "golden"
STOPPED = {"kubernetes": Verdict.UNHEALTHY, "agent": Verdict.UNHEALTHY, "server": Verdict.HEALTHY}
HEALTHY = {"kubernetes": Verdict.HEALTHY, "agent": Verdict.HEALTHY, "server": Verdict.HEALTHY}
MINUTE = timedelta(minutes=1)
BEGIN = SteppingClock().now()


async def ten_workers(stage: Stage) -> list[NodeRow]:
    pools = [a_pool_spec(Role.ETCD, 1), a_pool_spec(Role.CONTROLLER, 1), a_pool_spec(Role.WORKER, 10)]
    await stage.spec(a_cluster_spec(pools=pools))
    await stage.listing()
    await stage.region()
    await stage.act()
    return sorted(stage.rows("pool-worker"), key=lambda row: row.node_id)


async def log_of(stage: Stage, pool_id: str = "pool-worker") -> list[str]:
    """Every stored decision of a pool, with nodes named w1, w2 ... in the order of minting."""
    numbers: dict[str, str] = {}
    for event in stage.said:
        for row in getattr(event.data, "nodes", ()):
            if isinstance(row, NodeRow) and row.pool_id == pool_id:
                numbers.setdefault(row.name, f"w{len(numbers) + 1}")
    async with stage.healer.database.reading() as session:
        query = select(DecisionRecord).where(col(DecisionRecord.pool_id) == pool_id)
        records = (await session.execute(query.order_by(col(DecisionRecord.decided_at)))).scalars().all()
    lines = []
    for record in records:
        summary = record.summary
        for name, number in numbers.items():
            summary = summary.replace(name, number)
        lines += [f"{_moment(record, position)} {part}" for position, part in enumerate(summary.split("; "))]
    return lines


def _moment(record: DecisionRecord, position: int) -> str:
    passed = int((record.decided_at - BEGIN).total_seconds())
    return f"{passed // 3600:02}:{passed // 60 % 60:02}:{passed % 60:02}" if position == 0 else " " * 8


def compare(name: str, lines: list[str]) -> None:
    path, text = GOLDEN / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("SLIPWAY_UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


async def test_ten_workers_two_die_the_region_is_suspect_and_recovers(stage: Stage) -> None:
    workers = await ten_workers(stage)
    first, second = workers[0].node_id, workers[1].node_id
    stage.ill = {first: STOPPED, second: STOPPED}
    await stage.later(6 * MINUTE)
    stage.trusted = False
    await stage.later(6 * MINUTE)
    stage.trusted = True
    await stage.later(MINUTE)
    del stage.ill[first]
    await stage.act()
    await stage.later(MINUTE)
    stage.ill[second] = HEALTHY
    await stage.later(10 * MINUTE, step=5 * MINUTE)
    compare("two_die", await log_of(stage))
    assert len(stage.rows("pool-worker")) == 10
    assert second in {row.node_id for row in stage.rows("pool-worker")}


async def test_no_server_can_be_built_and_the_pool_is_quarantined_until_a_trial_succeeds(stage: Stage) -> None:
    await ten_workers(stage)
    victim = stage.rows("pool-worker")[0]
    no_host = Reason(code="NoValidHost", message="No host has room for this flavor.", whose_move=Mover.OPERATOR)
    await stage.node(victim.node_id, server_state=ServerState.GONE)
    for _ in range(5):
        await stage.settle()
        for row in stage.rows("pool-worker"):
            if row.node_id not in stage.nodes and row.wanted.value == "present":
                await stage.fail(row, no_host)
        await stage.later(2 * MINUTE, step=2 * MINUTE)
    operation = stage.operation("operation-1")
    assert (operation.state.value, operation.cause.code if operation.cause else None) == ("blocked", "NoValidHost")
    await stage.later(28 * MINUTE, step=4 * MINUTE)
    await stage.act()
    await stage.later(MINUTE)
    compare("quarantine", await log_of(stage))
    present = [row for row in stage.rows("pool-worker") if row.wanted.value == "present"]
    assert len(present) == 10
    assert all(stage.nodes[row.node_id].phase is NodePhase.PROVISIONED for row in present)


async def test_a_host_fails_and_takes_six_of_ten_workers_along(stage: Stage) -> None:
    workers = await ten_workers(stage)
    stage.ill = {row.node_id: STOPPED for row in workers[:6]}
    await stage.later(8 * MINUTE)
    assert not [row for row in stage.rows("pool-worker") if row.wanted.value == "removed" or row.reboots]
    for row in workers[:6]:
        stage.ill[row.node_id] = HEALTHY
    await stage.later(2 * MINUTE, step=2 * MINUTE)
    compare("six_die", await log_of(stage))
    assert stage.refusals("pool-worker").refusals == ()
    assert NodeProvisioningFailed.TYPE not in {event.type for event in stage.said}
