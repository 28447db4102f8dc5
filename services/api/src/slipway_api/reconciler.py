"""Keeps the read model's lists current, and throws away what is kept for a time only."""

from datetime import timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_api.read_model import project_status
from slipway_api.settings import Settings
from slipway_api.store import AnswerRow, ClusterRow, FeedRow, NameRow
from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease

CLUSTER = "cluster"
LOOK_AGAIN = timedelta(minutes=10)
HOUSEKEEPING = "housekeeping"
HOUSEKEEPING_EVERY = timedelta(minutes=10)


class ClusterProjection:
    """Projects one cluster's facts into its row in lists; frees its name when it is gone."""

    kind = CLUSTER

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """One look; a cluster that is gone leaves the queue."""
        async with self._database.transaction() as session:
            await work.require(session, lease)
            row = await session.get(ClusterRow, lease.key)
            if row is None:
                return None
            facts = await project_status(session, row, self._clock.now())
            if not facts.deleted:
                return LOOK_AGAIN
            if row.deleted_at is None:
                row.deleted_at = self._clock.now()
                session.add(row)
            await session.execute(delete(NameRow).where(col(NameRow.cluster_id) == row.cluster_id))
            return None

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """A projection refuses nothing."""


class Housekeeping:
    """Drops events and answers that nobody can ask for any more."""

    kind = HOUSEKEEPING

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """One round."""
        now = self._clock.now()
        async with self._database.transaction() as session:
            await work.require(session, lease)
            await session.execute(delete(FeedRow).where(col(FeedRow.at) < now - self._settings.events_kept))
            await session.execute(
                delete(AnswerRow).where(col(AnswerRow.created_at) < now - self._settings.idempotency_kept)
            )
        return HOUSEKEEPING_EVERY

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Housekeeping refuses nothing."""
