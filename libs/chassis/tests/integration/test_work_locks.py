"""What replicas on one PostgreSQL may do to the work queue at the same time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from slipway_chassis import work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.testing import a_postgresql_database

pytestmark = pytest.mark.integration
LEASE_FOR = timedelta(seconds=60)


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with a_postgresql_database(postgres_url) as made:
        yield made


async def claimed(database: Database, clock: SteppingClock, *kinds: str) -> list[work.Lease]:
    async with database.transaction() as session:
        return await work.claim(session, clock, "1", kinds, LEASE_FOR, limit=10)


async def test_two_objects_may_mark_each_other_dirty(database: Database) -> None:
    clock = SteppingClock()
    async with database.transaction() as session:
        for kind in ("cluster", "node"):
            await work.mark_dirty(session, kind, "a", clock.now())
    leases = {each.kind: each for each in await claimed(database, clock, "cluster", "node")}
    both_hold_their_own = asyncio.Barrier(2)

    async def commit(own: str, other: str) -> None:
        async with database.transaction() as session:
            await work.require(session, leases[own])
            await both_hold_their_own.wait()
            await work.mark_dirty(session, other, "a", clock.now())

    await asyncio.wait_for(asyncio.gather(commit("cluster", "node"), commit("node", "cluster")), timeout=10)


async def test_nobody_claims_an_object_that_is_being_committed(database: Database) -> None:
    clock = SteppingClock()
    async with database.transaction() as session:
        await work.mark_dirty(session, "node", "a", clock.now())
    async with database.transaction() as session:
        (lease,) = await work.claim(session, clock, "1", ["node"], timedelta(seconds=-1), limit=1)
    async with database.transaction() as session:
        await work.require(session, lease)
        assert await claimed(database, clock, "node") == []
    assert [each.fence for each in await claimed(database, clock, "node")] == [lease.fence + 1]


async def test_a_nudge_during_the_release_is_not_lost(database: Database) -> None:
    clock = SteppingClock()
    async with database.transaction() as session:
        await work.mark_dirty(session, "node", "a", clock.now())
    (lease,) = await claimed(database, clock, "node")

    async def release() -> None:
        async with database.transaction() as session:
            await work.require(session, lease)
            later = clock.now() + timedelta(hours=1)
            await work.release(session, lease, due_at=later, now=clock.now())

    async with database.transaction() as session:
        await work.mark_dirty(session, "node", "a", clock.now())
        releasing = asyncio.create_task(release())
        done, _ = await asyncio.wait({releasing}, timeout=0.5)
        assert not done
    await asyncio.wait_for(releasing, timeout=10)
    async with database.reading() as session:
        assert await work.next_due(session, ["node"]) == clock.now()


async def test_of_two_marks_at_once_the_earlier_time_stays(database: Database) -> None:
    clock = SteppingClock()
    soon, later = clock.now() + timedelta(seconds=1), clock.now() + timedelta(seconds=30)
    async with database.transaction() as session:
        await work.mark_dirty(session, "node", "a", clock.now() + timedelta(minutes=1))

    async def mark_later() -> None:
        async with database.transaction() as session:
            await work.mark_dirty(session, "node", "a", later)

    async with database.transaction() as session:
        await work.mark_dirty(session, "node", "a", soon)
        marking = asyncio.create_task(mark_later())
        done, _ = await asyncio.wait({marking}, timeout=0.5)
        assert not done
    await asyncio.wait_for(marking, timeout=10)
    async with database.reading() as session:
        assert await work.next_due(session, ["node"]) == soon


async def test_of_two_first_marks_at_once_both_count(database: Database) -> None:
    clock = SteppingClock()
    times = [clock.now() + timedelta(seconds=seconds) for seconds in (3, 1, 2)]

    async def mark(due_at: datetime) -> None:
        async with database.transaction() as session:
            await work.mark_dirty(session, "node", "a", due_at)

    await asyncio.gather(*(mark(due_at) for due_at in times))
    async with database.reading() as session:
        assert await work.next_due(session, ["node"]) == min(times)
