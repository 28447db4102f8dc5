"""The addon manager's table: what was last said of each addon in each cluster, and what is remembered of it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, MetaData, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from slipway_addon_manager.domain.states import Progress
from slipway_chassis.database import UtcDateTime
from slipway_contracts.addon_manager import AddonState

metadata = MetaData()
"""This service's own; several services share one process in a simulation."""


class Row(SQLModel, registry=registry(metadata=metadata)):
    """The base of all tables of this service."""


class AddonRecord(Row, table=True):
    """One addon in one cluster; it goes when its cluster does."""

    __tablename__ = "addons"

    cluster_id: str = Field(primary_key=True, max_length=64)
    addon: str = Field(primary_key=True, max_length=60)
    state: dict[str, Any] = Field(sa_type=JSON)
    """The AddonState that was last announced."""
    applied_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    unavailable_since: datetime | None = Field(default=None, sa_type=UtcDateTime)


async def progress_of(session: AsyncSession, cluster_id: str) -> dict[str, Progress]:
    """All addons of a cluster that something was said of, by name."""
    query = select(AddonRecord).where(col(AddonRecord.cluster_id) == cluster_id)
    records = (await session.execute(query)).scalars()
    return {
        record.addon: Progress(AddonState.model_validate(record.state), record.applied_at, record.unavailable_since)
        for record in records
    }


async def save(session: AsyncSession, progress: Iterable[Progress]) -> None:
    """Keep what is known of these addons now."""
    for each in progress:
        record = AddonRecord(
            cluster_id=each.state.cluster_id,
            addon=each.state.addon,
            state=each.state.model_dump(mode="json"),
            applied_at=each.applied_at,
            unavailable_since=each.unavailable_since,
        )
        await session.merge(record)
    await session.flush()


async def forget_cluster(session: AsyncSession, cluster_id: str) -> None:
    """Nothing of the cluster is kept."""
    await session.execute(delete(AddonRecord).where(col(AddonRecord.cluster_id) == cluster_id))
