"""The stream of events that users see: recorded with each fact, followed by any number of readers and replicas.

Rows become visible in the order of their ids: a recorder takes a lock that it keeps until its commit, for a reader who
has seen an id never looks for a smaller one again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import event as orm_event
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_api.domain.narration import narrate, short_type
from slipway_api.store import ClusterRow, FeedRow
from slipway_chassis.database import Database, is_away
from slipway_contracts.api import ClusterSpec
from slipway_contracts.envelope import Event

log = structlog.get_logger()

_LOCK = 7_150_420
"""Advisory lock of PostgreSQL; on SQLite writers exclude each other anyway."""

_KEPT_OUT = {"evidence"}
"""Large fields of bodies that a stream does not carry; the node's own page has them."""


@dataclass(frozen=True)
class FeedFilter:
    """What of the feed a reader may and wants to see."""

    project_id: str
    regions: tuple[str, ...]
    cluster_id: str | None = None
    operation_id: str | None = None


class Feed:
    """Records events and wakes those who follow."""

    def __init__(self, database: Database, poll: float) -> None:
        self._database = database
        self._poll = poll
        self._wake = asyncio.Event()
        self.followers = 0
        """Open streams of this replica."""
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def record(self, session: AsyncSession, event: Event[Any], names: dict[str, str]) -> bool:
        """Put the event into the stream of its cluster's project; False: nobody's cluster."""
        cluster_id = getattr(event.data, "cluster_id", None)
        owner = await session.get(ClusterRow, cluster_id) if cluster_id else None
        if owner is None:
            return False
        body = event.data
        entry = FeedRow(
            project_id=owner.project_id,
            region=owner.region,
            cluster_id=owner.cluster_id,
            operation_id=getattr(body, "operation_id", None),
            node_id=getattr(body, "node_id", None),
            type=short_type(event),
            subject=event.subject,
            message=narrate(event.data, names, ended=event.ENDS),
            data=body.model_dump(mode="json", exclude=_KEPT_OUT),
            at=event.time,
        )
        await self._append(session, entry)
        return True

    async def record_change(self, session: AsyncSession, spec: ClusterSpec, now: datetime) -> None:
        """Put the api's own change of a desired state into the stream."""
        entry = FeedRow(
            project_id=spec.project_id,
            region=spec.region,
            cluster_id=spec.cluster_id,
            operation_id=spec.operation_id,
            type="cluster.spec_changed",
            subject=f"clusters/{spec.cluster_id}",
            message=narrate(spec, {}),
            data=spec.model_dump(mode="json"),
            at=now,
        )
        await self._append(session, entry)

    async def _append(self, session: AsyncSession, entry: FeedRow) -> None:
        if session.get_bind().dialect.name == "postgresql":
            await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        session.add(entry)
        await session.flush()
        orm_event.listen(session.sync_session, "after_commit", self._committed, once=True)

    def _committed(self, _session: object) -> None:
        self.wake()

    def wake(self) -> None:
        """Let all followers look now."""
        previous, self._wake = self._wake, asyncio.Event()
        previous.set()

    async def newest(self) -> int:
        """The id of the newest event; 0: there is none."""
        async with self._database.reading() as session:
            return (await session.execute(select(func.max(FeedRow.id)))).scalar_one_or_none() or 0

    async def oldest(self) -> int:
        """The id of the oldest event that is kept; 0: there is none."""
        async with self._database.reading() as session:
            return (await session.execute(select(func.min(FeedRow.id)))).scalar_one_or_none() or 0

    async def read(self, wanted: FeedFilter, after: int, limit: int) -> Sequence[FeedRow]:
        """The next events after an id."""
        query = (
            select(FeedRow)
            .where(
                col(FeedRow.id) > after,
                col(FeedRow.project_id) == wanted.project_id,
                col(FeedRow.region).in_(wanted.regions),
            )
            .order_by(col(FeedRow.id))
            .limit(limit)
        )
        if wanted.cluster_id is not None:
            query = query.where(col(FeedRow.cluster_id) == wanted.cluster_id)
        if wanted.operation_id is not None:
            query = query.where(col(FeedRow.operation_id) == wanted.operation_id)
        async with self._database.reading() as session:
            return (await session.execute(query)).scalars().all()

    async def follow(self, wanted: FeedFilter, after: int, heartbeat: float) -> AsyncIterator[FeedRow | None]:
        """All events after an id as they come; None when there was none for `heartbeat` seconds; ends at a stop."""
        async with self._following():
            while not self._closed:
                wake = self._wake
                rows = await self.read(wanted, after, 100)
                for row in rows:
                    assert row.id is not None
                    after = row.id
                    yield row
                if rows:
                    continue
                try:
                    await asyncio.wait_for(wake.wait(), heartbeat)
                except TimeoutError:
                    yield None

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While the service runs; on leaving all streams end."""
        try:
            yield
        finally:
            self._closed = True
            self.wake()

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        self.followers += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self.followers -= 1
            if self.followers == 0 and self._watching is not None:
                watching, self._watching = self._watching, None
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching

    async def _watch(self) -> None:
        """One look for all followers of this replica: has another replica recorded something?"""
        seen = await self._newest_or(0)
        while True:
            await asyncio.sleep(self._poll)
            newest = await self._newest_or(seen)
            if newest != seen:
                seen = newest
                self.wake()

    async def _newest_or(self, seen: int) -> int:
        try:
            return await self.newest()
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Feed cannot be read", error=repr(error))
            return seen
