"""Transactions that are in each other's way on PostgreSQL: ended by it, and tried again by us."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import outbox, work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database, is_away, is_conflict
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.inbox import Disposition
from slipway_chassis.service import Service
from slipway_chassis.testing import a_postgresql_database
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.testing import a_cluster_spec

pytestmark = pytest.mark.integration

Change = Callable[[AsyncSession], Awaitable[None]]


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    async with a_postgresql_database(postgres_url) as made:
        yield made


class Crossing:
    """Marks two objects dirty in the order of who asks; the first time, both hold one before they want the other."""

    def __init__(self, clock: SteppingClock) -> None:
        self._clock = clock
        self._meet = asyncio.Barrier(2)
        self.attempts = 0

    def marks(self, first: str, second: str) -> Change:
        async def mark(session: AsyncSession) -> None:
            self.attempts += 1
            await session.execute(text("SET LOCAL deadlock_timeout = '20ms'"))
            await work.mark_dirty(session, "cluster", first, self._clock.now())
            if self.attempts <= 2:
                await self._meet.wait()
            await work.mark_dirty(session, "cluster", second, self._clock.now())

        return mark


async def both_exist(database: Database, clock: SteppingClock) -> Crossing:
    async with database.transaction() as session:
        for key in ("a", "b"):
            await work.mark_dirty(session, "cluster", key, clock.now() + timedelta(hours=1))
    return Crossing(clock)


async def test_a_deadlock_is_a_conflict_and_neither_a_mistake_nor_an_outage(database: Database) -> None:
    crossing = await both_exist(database, SteppingClock())

    async def once(change: Change) -> None:
        async with database.transaction() as session:
            await change(session)

    results = await asyncio.gather(
        once(crossing.marks("a", "b")), once(crossing.marks("b", "a")), return_exceptions=True
    )
    (failed,) = [each for each in results if each is not None]
    assert is_conflict(failed)
    assert not is_away(failed)


async def test_of_two_changes_that_wait_for_each_other_both_are_made(database: Database) -> None:
    crossing = await both_exist(database, SteppingClock())
    await asyncio.gather(database.commit(crossing.marks("a", "b")), database.commit(crossing.marks("b", "a")))
    assert crossing.attempts == 3


async def test_what_is_no_conflict_is_tried_once(database: Database) -> None:
    attempts = []

    async def fail(session: AsyncSession) -> None:
        attempts.append(1)
        await session.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError):
        await database.commit(fail)
    assert len(attempts) == 1


class Marking:
    """A reconciler whose look is one change."""

    kind = "look"

    def __init__(self, database: Database, changes: dict[str, Change]) -> None:
        self._database = database
        self._changes = changes

    async def reconcile(self, lease: Lease) -> timedelta | None:
        async with self._database.transaction() as session:
            await self._changes[lease.key](session)
        return timedelta(hours=1)

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Nothing is refused."""


def results(service: Service) -> dict[str, float]:
    """How looks ended, as the metrics count them."""
    return {
        sample.labels["result"]: sample.value
        for metric in service.metrics.reconciled.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }


def a_service(database: Database, clock: SteppingClock, **parts: Any) -> Service:
    values: dict[str, Any] = {"name": "healer", "region": "tokyo", "metadata": MetaData(), "routes": {}}
    return Service(database=database, clock=clock, **values | parts)


async def test_messages_whose_handlers_wait_for_each_other_are_both_handled(database: Database) -> None:
    clock = SteppingClock()
    crossing = await both_exist(database, clock)
    order = {"c1": crossing.marks("a", "b"), "c2": crossing.marks("b", "a")}

    async def on_spec(session: AsyncSession, event: ClusterSpecChanged) -> None:
        await order[event.data.cluster_id](session)

    service = a_service(database, clock, routes={ClusterSpecChanged: on_spec})
    async with database.transaction() as session:
        for cluster_id in order:
            await service.announce(
                session, ClusterSpecChanged, f"clusters/{cluster_id}", a_cluster_spec(cluster_id), region="tokyo"
            )
        messages = [each.document for each in await outbox.pending(session, 10)]
    said = [message.replace(b'"healer/tokyo"', b'"api/global"') for message in messages]
    receipts = await asyncio.gather(*(service.receive(message) for message in said))
    assert [receipt.disposition for receipt in receipts] == [Disposition.HANDLED] * 2


async def test_looks_that_wait_for_each_other_are_taken_again_and_count_as_no_failure(database: Database) -> None:
    clock = SteppingClock()
    crossing = await both_exist(database, clock)
    looks = {"one": crossing.marks("a", "b"), "two": crossing.marks("b", "a")}
    async with database.transaction() as session:
        for key in looks:
            await work.mark_dirty(session, "look", key, clock.now())
    service = a_service(database, clock, reconcilers=[Marking(database, looks)])
    assert all(await asyncio.gather(service.work_once(), service.work_once()))
    assert results(service) == {"done": 1.0, "conflict": 1.0}
    clock.step(timedelta(seconds=1))
    assert await service.work_once()
    assert results(service) == {"done": 2.0, "conflict": 1.0}
