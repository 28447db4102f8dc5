"""A small service for the chassis' own tests: it counts the clusters' generations that it hears of."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.service import Service
from slipway_chassis.testing import a_database, a_postgresql_database
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.healer import ClusterHold, ClusterHoldChanged, Hold


class HoldReconciler:
    """For each cluster it hears of, says that nothing holds it."""

    kind = "cluster"

    def __init__(self) -> None:
        self.service: Service
        self.seen: list[tuple[str, int]] = []
        self.refusals: list[str] = []
        self.fail_with: Exception | None = None

    async def reconcile(self, lease: Lease) -> timedelta | None:
        if self.fail_with is not None:
            raise self.fail_with
        async with self.service.transaction() as session:
            await work.require(session, lease)
            spec = await facts.fact_of(session, ClusterSpec, f"clusters/{lease.key}")
            if spec is None:
                return None
            self.seen.append((lease.key, spec.body.generation))
            await self.service.announce(
                session,
                ClusterHoldChanged,
                f"clusters/{lease.key}/hold",
                ClusterHold(cluster_id=lease.key, hold=Hold.NONE, since=spec.body.created_at),
            )
        return timedelta(minutes=1)

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        self.refusals.append(f"{key}: {refusal.reason.code}")


def build(
    database: Any, clock: Any, name: str = "healer", *, region: str = "tokyo", replica: str = "1"
) -> tuple[Service, HoldReconciler]:
    reconciler = HoldReconciler()

    async def on_spec(session: AsyncSession, event: ClusterSpecChanged) -> None:
        await work.mark_dirty(session, "cluster", event.data.cluster_id, clock.now())

    service = Service(
        name=name,
        region=region,
        database=database,
        clock=clock,
        metadata=MetaData(),
        routes={ClusterSpecChanged: on_spec} if name != "api" else {ClusterHoldChanged: _ignore},
        reconcilers=[reconciler],
        replica=replica,
    )
    reconciler.service = service
    return service, reconciler


async def _ignore(session: AsyncSession, event: Any) -> None:
    """The fact is all that is wanted."""


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture(params=["sqlite", "postgresql"])
async def builder(
    request: pytest.FixtureRequest, tmp_path: Path, clock: SteppingClock
) -> AsyncIterator[Callable[..., Any]]:
    """Makes services, each with a database of its own, on both databases."""
    databases: list[Database] = []
    async with AsyncExitStack() as stack:
        fresh = partial(a_database, tmp_path)
        if request.param == "postgresql":
            url = request.getfixturevalue("postgres_url")
            fresh = partial(_postgresql, stack, url)
        yield _maker(fresh, databases, clock)
        for each in databases:
            await each.close()


async def _postgresql(stack: AsyncExitStack, url: str, name: str) -> Database:
    return await stack.enter_async_context(a_postgresql_database(url))


def _maker(fresh: Callable[..., Any], databases: list[Database], clock: SteppingClock) -> Callable[..., Any]:
    async def make(name: str = "healer", **more: Any) -> tuple[Service, HoldReconciler]:
        databases.append(await fresh(name=more.pop("file", name)))
        return build(databases[-1], clock, name, **more)

    return make
