"""The monitor's own tables: what it saw and concluded. Rows are written when something changed, not at each look."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, MetaData, Text, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from slipway_chassis.database import UtcDateTime, upsert
from slipway_monitor.domain.model import GONE_STATUSES

metadata = MetaData()


class Table(SQLModel, registry=registry(metadata=metadata)):
    """The base of this service's tables: several services share a process, never their metadata."""


def _when(**more: Any) -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True, **more))


class NodeRecord(Table, table=True):
    """One node: what was concluded and said of it."""

    __tablename__ = "node_records"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(index=True, max_length=64)
    pool_id: str = Field(max_length=64)
    server_id: str | None = Field(default=None, max_length=64, index=True)
    project_id: str | None = Field(default=None, max_length=64)
    zone: str | None = Field(default=None, max_length=255)
    ready_in: int | None = None
    joined: bool = False
    bad_since: datetime | None = _when()
    gone: bool = False
    announced_at: datetime | None = _when()
    health: str | None = Field(default=None, sa_column=Column(Text, nullable=True))


class ClusterRecord(Table, table=True):
    """One cluster: when its API was reached, what was said of its health."""

    __tablename__ = "cluster_records"

    cluster_id: str = Field(primary_key=True, max_length=64)
    project_id: str | None = Field(default=None, max_length=64)
    expected: bool = False
    seen_at: datetime | None = _when()
    failing_since: datetime | None = _when()
    cause: str = Field(default="", sa_column=Column(Text, nullable=False))
    well_from_inside: bool = False
    ever_well: bool = False
    health: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    etcd: str | None = Field(default=None, sa_column=Column(Text, nullable=True))


class HeardRecord(Table, table=True):
    """The newest observation of one agent; written on a change and twice a minute."""

    __tablename__ = "heard"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(index=True, max_length=64)
    received_at: datetime = Field(sa_column=Column(UtcDateTime, nullable=False, index=True))
    digest: str = Field(max_length=64)
    document: str = Field(sa_column=Column(Text, nullable=False))


class ServerRecord(Table, table=True):
    """One server of Slipway's as the cloud listed it last."""

    __tablename__ = "servers"

    server_id: str = Field(primary_key=True, max_length=64)
    project_id: str = Field(max_length=64)
    cluster_id: str | None = Field(default=None, max_length=64)
    node_id: str | None = Field(default=None, max_length=64)
    status: str = Field(max_length=40)
    task_state: str | None = Field(default=None, max_length=40)
    fault: str | None = Field(default=None, sa_column=Column(Text, nullable=True))
    updated: datetime | None = _when()


class RegionRecord(Table, table=True):
    """The rounds over one region: the cursor of the server list, and the mass loss under way."""

    __tablename__ = "regions"

    region: str = Field(primary_key=True, max_length=80)
    listed_at: datetime | None = _when()
    listed_fully_at: datetime | None = _when()
    cursor: datetime | None = _when()
    suspect_since: datetime | None = _when()
    last_loss_at: datetime | None = _when()
    message: str = Field(default="", sa_column=Column(Text, nullable=False))


class AlertRecord(Table, table=True):
    """One open alert."""

    __tablename__ = "alerts"

    cluster_id: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=140)
    alert_id: str = Field(max_length=64)
    document: str = Field(sa_column=Column(Text, nullable=False))


async def save(session: AsyncSession, row: Table) -> None:
    """Insert the row or replace the one with the same key."""
    table = type(row).__table__  # type: ignore[attr-defined]
    await upsert(session, table, row.model_dump(), keys=[column.name for column in table.primary_key])


async def nodes_of(session: AsyncSession, cluster_id: str) -> dict[str, NodeRecord]:
    """The cluster's nodes that anything was concluded of, by id."""
    return {row.node_id: row for row in await _rows(session, NodeRecord, NodeRecord.cluster_id == cluster_id)}


async def joined_by_zone(session: AsyncSession) -> dict[str | None, int]:
    """How many nodes of the region were healthy in this incarnation and are not gone, by zone."""
    table = _table(NodeRecord)
    query = select(table.c.zone, func.count()).where(table.c.joined, ~table.c.gone).group_by(table.c.zone)
    return {row[0]: row[1] for row in await session.execute(query)}


async def losses(session: AsyncSession) -> list[NodeRecord]:
    """The joined nodes that are bad and not gone."""
    table = _table(NodeRecord)
    return await _rows(session, NodeRecord, and_(table.c.joined, ~table.c.gone, table.c.bad_since.is_not(None)))


async def clusters_watched(session: AsyncSession) -> list[ClusterRecord]:
    """All clusters that anything is kept of; `expected` says of which the API should answer."""
    return await _rows(session, ClusterRecord, True)


async def server_ids_wanted(session: AsyncSession, *, listed: bool) -> dict[str, str]:
    """Server ids of nodes with their projects: those whose server was listed and is not gone, or never listed."""
    nodes, servers = _table(NodeRecord), _table(ServerRecord)
    query = (
        select(nodes.c.server_id, nodes.c.project_id)
        .outerjoin(servers, servers.c.server_id == nodes.c.server_id)
        .where(nodes.c.server_id.is_not(None), nodes.c.project_id.is_not(None))
        .where(servers.c.status.not_in(GONE_STATUSES) if listed else servers.c.server_id.is_(None))
        .order_by(nodes.c.server_id)
    )
    return {row.server_id: row.project_id for row in await session.execute(query)}


async def forget_alert(session: AsyncSession, cluster_id: str, key: str) -> None:
    """The alert is not open any more."""
    table = _table(AlertRecord)
    await session.execute(delete(table).where(table.c.cluster_id == cluster_id, table.c.key == key))


async def forget_unused_servers(session: AsyncSession) -> None:
    """Drop servers that are gone and belong to no node any more."""
    nodes, servers = _table(NodeRecord), _table(ServerRecord)
    used = select(nodes.c.server_id).where(nodes.c.server_id.is_not(None))
    await session.execute(delete(servers).where(servers.c.status.in_(GONE_STATUSES), servers.c.server_id.not_in(used)))


async def heard_of(session: AsyncSession, cluster_id: str, since: datetime | None = None) -> list[HeardRecord]:
    """The newest observations of the cluster's agents: all, or those received since."""
    table = _table(HeardRecord)
    of_cluster = table.c.cluster_id == cluster_id
    return await _rows(
        session, HeardRecord, of_cluster if since is None else and_(of_cluster, table.c.received_at >= since)
    )


async def last_heard(session: AsyncSession) -> list[tuple[str, datetime]]:
    """The two nodes of the region that were heard last: with two, there is always another one."""
    table = _table(HeardRecord)
    query = select(table.c.node_id, table.c.received_at).order_by(table.c.received_at.desc()).limit(2)
    return [(row.node_id, row.received_at) for row in await session.execute(query)]


async def servers_by_id(session: AsyncSession, server_ids: Sequence[str]) -> dict[str, ServerRecord]:
    """These servers as listed last."""
    if not server_ids:
        return {}
    table = _table(ServerRecord)
    return {row.server_id: row for row in await _rows(session, ServerRecord, table.c.server_id.in_(server_ids))}


async def region_of(session: AsyncSession, region: str) -> RegionRecord:
    """What is remembered of the region's rounds; a new row when there was none."""
    found = await _rows(session, RegionRecord, RegionRecord.region == region)
    return found[0] if found else RegionRecord(region=region)


async def cluster_of(session: AsyncSession, cluster_id: str) -> ClusterRecord | None:
    """What is remembered of one cluster."""
    found = await _rows(session, ClusterRecord, ClusterRecord.cluster_id == cluster_id)
    return found[0] if found else None


async def heard_from(session: AsyncSession, node_id: str) -> HeardRecord | None:
    """The newest observation of one agent."""
    found = await _rows(session, HeardRecord, HeardRecord.node_id == node_id)
    return found[0] if found else None


async def open_alerts(session: AsyncSession, cluster_id: str) -> dict[str, AlertRecord]:
    """The cluster's open alerts by key."""
    return {row.key: row for row in await _rows(session, AlertRecord, AlertRecord.cluster_id == cluster_id)}


async def forget_node(session: AsyncSession, node_id: str) -> None:
    """Drop what is kept of a node."""
    for kind in (NodeRecord, HeardRecord):
        await session.execute(delete(_table(kind)).where(_table(kind).c.node_id == node_id))


async def forget_cluster(session: AsyncSession, cluster_id: str) -> None:
    """Drop what is kept of a cluster."""
    for kind in (NodeRecord, HeardRecord, ClusterRecord, AlertRecord):
        await session.execute(delete(_table(kind)).where(_table(kind).c.cluster_id == cluster_id))


def _table(kind: type[Table]) -> Any:
    return kind.__table__  # type: ignore[attr-defined]


async def _rows(session: AsyncSession, kind: type[Any], condition: Any) -> list[Any]:
    query = select(_table(kind))
    if condition is not True:
        query = query.where(condition)
    return [kind(**row) for row in (await session.execute(query)).mappings()]
