"""Workers: how many objects at once, who claims them, and how they end."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from slipway_chassis import work
from slipway_chassis.service import Service
from slipway_chassis.testing import eventually
from slipway_chassis.workers import BEING_CLAIMED
from slipway_chassis.workers import work as work_on


class Slow:
    """Holds every object until it is let go."""

    kind = "cluster"

    def __init__(self) -> None:
        self.at_work: set[str] = set()
        self.most = 0
        self.done: list[str] = []
        self.go = asyncio.Event()

    async def reconcile(self, lease: work.Lease) -> timedelta | None:
        self.at_work.add(lease.key)
        self.most = max(self.most, len(self.at_work))
        try:
            await self.go.wait()
        finally:
            self.at_work.discard(lease.key)
        self.done.append(lease.key)
        return timedelta(hours=1)

    async def refused(self, session: Any, key: str, refusal: Any) -> None:
        raise AssertionError("nothing is refused here")


@pytest.fixture
async def slow(builder: Any) -> tuple[Service, Slow]:
    service, _ = await builder("healer")
    slow = Slow()
    service._by_kind["cluster"] = slow
    return service, slow


async def mark(service: Service, count: int) -> None:
    async with service.transaction() as session:
        for number in range(count):
            await work.mark_dirty(session, "cluster", f"c{number}", service.clock.now())


async def test_no_more_are_begun_at_once_than_there_are_workers(slow: tuple[Service, Slow]) -> None:
    service, reconciler = slow
    await mark(service, 5)
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 2, stopping))
    await eventually(lambda: len(reconciler.at_work) == 2, "two are begun")
    reconciler.go.set()
    await eventually(lambda: len(reconciler.done) == 5, "each end lets another one begin")
    assert reconciler.most == 2
    stopping.set()
    service.wake()
    await running


async def test_what_was_begun_is_ended_before_the_workers_stop(slow: tuple[Service, Slow]) -> None:
    service, reconciler = slow
    await mark(service, 1)
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 2, stopping))
    await eventually(lambda: bool(reconciler.at_work), "it is begun")
    stopping.set()
    service.wake()
    await mark(service, 3)
    reconciler.go.set()
    await running
    assert reconciler.done == ["c0"]


async def test_one_that_must_not_wait_for_its_work_cancels_it(slow: tuple[Service, Slow]) -> None:
    service, reconciler = slow
    await mark(service, 2)
    running = asyncio.create_task(work_on(service, 2, asyncio.Event()))
    await eventually(lambda: len(reconciler.at_work) == 2, "both are begun")
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert (reconciler.at_work, reconciler.done) == (set(), [])


async def test_a_database_that_is_away_is_waited_for(slow: tuple[Service, Slow], monkeypatch: Any) -> None:
    service, reconciler = slow
    reconciler.go.set()
    await mark(service, 1)
    claim, refusals = service.claim, [OperationalError("SELECT", {}, OSError("connection refused"))]

    async def away_once(limit: int) -> list[work.Lease]:
        if refusals:
            raise refusals.pop()
        return await claim(limit)

    monkeypatch.setattr(service, "claim", away_once)
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 1, stopping))
    await eventually(lambda: reconciler.done == ["c0"], "it goes on when the database is back")
    stopping.set()
    service.wake()
    await running


async def test_what_was_claimed_is_done_though_the_database_leaves_right_after(
    slow: tuple[Service, Slow], monkeypatch: Any
) -> None:
    service, reconciler = slow
    reconciler.go.set()
    await mark(service, 1)

    async def away() -> timedelta | None:
        raise OperationalError("SELECT", {}, OSError("connection refused"))

    monkeypatch.setattr(service, "next_due", away)
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 2, stopping))
    await eventually(lambda: reconciler.done == ["c0"], "it does not wait for its lease's end", within=5)
    stopping.set()
    service.wake()
    await running


async def test_what_another_replica_is_claiming_is_not_asked_for_without_a_pause(
    slow: tuple[Service, Slow], monkeypatch: Any
) -> None:
    service, _ = slow
    asked: list[float] = []

    async def none(_limit: int) -> list[work.Lease]:
        asked.append(asyncio.get_running_loop().time())
        return []

    async def now() -> timedelta | None:
        return timedelta(0)

    monkeypatch.setattr(service, "claim", none)
    monkeypatch.setattr(service, "next_due", now)
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 2, stopping))
    await eventually(lambda: len(asked) >= 5, "it is asked for again and again")
    stopping.set()
    await running
    assert asked[4] - asked[0] >= 4 * BEING_CLAIMED.total_seconds() * 0.9


async def test_an_object_in_whose_way_others_always_are_does_not_end_the_service(
    slow: tuple[Service, Slow], monkeypatch: Any
) -> None:
    service, reconciler = slow
    await mark(service, 2)
    real = service.take

    async def take(lease: work.Lease) -> None:
        if lease.key == "c0":
            raise DBAPIError("UPDATE", {}, Deadlock())
        await real(lease)

    monkeypatch.setattr(service, "take", take)
    reconciler.go.set()
    stopping = asyncio.Event()
    running = asyncio.create_task(work_on(service, 1, stopping))
    await eventually(lambda: reconciler.done == ["c1"], "the other object has its turn")
    stopping.set()
    service.wake()
    await running


class Deadlock(Exception):
    """As PostgreSQL's driver says it."""

    sqlstate = "40P01"
