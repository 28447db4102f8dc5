"""Agents that wait for a plan: how soon they hear of it, and what many of them cost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.database import Database
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_provisioner.plan_watch import PlanWatch
from slipway_provisioner.store import metadata
from slipway_provisioner.store_plans import PlanRow

START = datetime(2026, 1, 1, 0, 0, 0, 130_000, tzinfo=UTC)
LONG = timedelta(seconds=30)


class SharedClock:
    """A clock on which many sleep at once: when all do, it goes on to whoever wakes first."""

    def __init__(self) -> None:
        self._now = START
        self._sleepers: list[tuple[datetime, int, asyncio.Event]] = []
        self._count = 0

    def now(self) -> datetime:
        return self._now

    async def sleep(self, duration: timedelta) -> None:
        wakes, self._count = asyncio.Event(), self._count + 1
        heappush(self._sleepers, (self._now + duration, self._count, wakes))
        await wakes.wait()

    async def run(self) -> None:
        """Let the time pass until nobody sleeps."""
        while True:
            for _ in range(100):
                await asyncio.sleep(0)
            if not self._sleepers:
                return
            self._now, _, wakes = heappop(self._sleepers)
            wakes.set()


class Watched:
    """A watch over a database, its queries counted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SharedClock()
        self.watch = PlanWatch(self._reading, self.clock)
        self.queries = 0

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncSession]:
        self.queries += 1
        async with self.database.reading() as session:
            yield session

    async def store(self, node_id: str, revision: int) -> None:
        async with self.database.transaction() as session:
            await session.merge(
                PlanRow(
                    node_id=node_id,
                    cluster_id="cluster",
                    revision=revision,
                    digest="",
                    sealed=b"",
                    titles=[],
                    profiles={},
                    created_at=START,
                )
            )

    async def store_at(self, moment: timedelta, node_id: str, revision: int) -> None:
        await self.clock.sleep(moment)
        await self.store(node_id, revision)

    async def heard(self, node_id: str, after: int, patience: timedelta = LONG) -> timedelta | None:
        """When the agent was answered with a newer plan."""
        answered = await self.watch.wait(node_id, after, patience)
        return self.clock.now() - START if answered else None

    async def late(self, moment: timedelta, node_id: str) -> timedelta | None:
        """As heard, by who begins to wait at this moment; all of them end together."""
        await self.clock.sleep(moment)
        return await self.heard(node_id, 1, LONG - moment)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    database = await an_inline_database(tmp_path / "watch.db", metadata)
    yield Watched(database)
    await database.close()


@pytest.mark.parametrize(
    ("after", "soon"),
    [
        pytest.param(0, timedelta(seconds=0.5), id="its first plan"),
        pytest.param(3, timedelta(seconds=2), id="a newer one"),
    ],
)
async def test_an_agent_soon_hears_of(watched: Watched, after: int, soon: timedelta) -> None:
    stored_at = timedelta(seconds=7.4)
    heard, _, _ = await asyncio.gather(
        watched.heard("node", after), watched.store_at(stored_at, "node", after + 1), watched.clock.run()
    )
    assert heard is not None
    assert stored_at <= heard <= stored_at + soon


async def test_all_that_wait_for_newer_plans_are_answered_by_one_query_in_two_seconds(watched: Watched) -> None:
    waiting = [watched.late(timedelta(milliseconds=137 * number), f"node-{number}") for number in range(50)]
    answers = await asyncio.gather(*waiting, watched.clock.run())
    assert answers == [None] * 51
    at_their_end = 1
    assert watched.queries <= LONG / timedelta(seconds=2) + at_their_end
