"""The healer's tables: clusters, pools, nodes, operations, decisions, the region's budget; and the queries on them.

Tables are storage, never contracts: enums are stored as their values, contract values as the JSON they dump to.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import JSON, Index, MetaData, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from slipway_chassis.database import UtcDateTime
from slipway_chassis.ids import first_id
from slipway_chassis.tables import announced
from slipway_contracts.api import NodeSpec
from slipway_contracts.healer import Hold, Wanted
from slipway_contracts.values import Reason, Role
from slipway_healer.domain.model import Awaited, Memory, Node

metadata = MetaData()
"""This service's own; several services share one process in a simulation."""

CLUSTER = "cluster"
"""The kind of object in the work queue: one item for each cluster."""

DECISIONS_KEPT = timedelta(days=30)

_MEMORY = TypeAdapter(Memory)


class Row(SQLModel, registry=registry(metadata=metadata)):
    """The base of all tables of this service."""


class ClusterRecord(Row, table=True):
    """One cluster and its hold. It stays after its deletion: ids are never reused."""

    __tablename__ = "clusters"

    cluster_id: str = Field(primary_key=True, max_length=64)
    first_seen_at: datetime = Field(sa_type=UtcDateTime)
    hold: str = Field(default=Hold.NONE.value, max_length=20)
    hold_since: datetime = Field(sa_type=UtcDateTime)
    hold_operation_id: str | None = Field(default=None, max_length=64)
    spec: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    """The spec of the last look, to tell what a new one changes."""
    list_asked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the provisioner's complete list was last asked for."""
    waits_for: str = Field(default="", max_length=20, index=True)
    """Which round of the region could lift what is refused now (see Awaited); empty: none."""
    deleted: bool = False


class PoolRecord(Row, table=True):
    """One pool: what its decisions remember, and what was last said of its refusals."""

    __tablename__ = "pools"

    pool_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    spec: dict[str, Any] = Field(sa_type=JSON)
    """The last desired state, for a pool that is removed from its cluster."""
    memory: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    refusals: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    digest: str = Field(default="", max_length=64)
    """Of what the last stored decision refused."""


class NodeRecord(Row, table=True):
    """One node. It stays after its removal: names and ids are never reused."""

    __tablename__ = "nodes"
    __table_args__ = (Index("ix_nodes_cluster", "cluster_id", "removed_at"),)

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64)
    pool_id: str = Field(max_length=64)
    name: str = Field(max_length=63)
    role: str = Field(max_length=20)
    zone: str | None = Field(default=None, max_length=64)
    spec: dict[str, Any] = Field(sa_type=JSON)
    wanted: str = Field(max_length=20)
    incarnation: int = 1
    reboots: int = 0
    update: int = 0
    replaces: str | None = Field(default=None, max_length=64)
    drain: bool = True
    reason: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    decided_at: datetime = Field(sa_type=UtcDateTime)
    valid_until: datetime = Field(sa_type=UtcDateTime)
    minted_at: datetime = Field(sa_type=UtcDateTime)
    incarnation_at: datetime = Field(sa_type=UtcDateTime)
    rebooted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ever_joined: bool = False
    removed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class OperationRecord(Row, table=True):
    """One operation, as it was last said."""

    __tablename__ = "operations"

    operation_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    is_open: bool = True
    document: dict[str, Any] = Field(sa_type=JSON)


class DecisionRecord(Row, table=True):
    """One decision with its inputs; stored when it differs from the pool's last one."""

    __tablename__ = "decisions"
    __table_args__ = (Index("ix_decisions_pool", "pool_id", "decided_at"),)

    decision_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64)
    pool_id: str = Field(max_length=64)
    decided_at: datetime = Field(sa_type=UtcDateTime)
    summary: str
    inputs: dict[str, Any] = Field(sa_type=JSON)
    outcome: dict[str, Any] = Field(sa_type=JSON)


class BucketRecord(Row, table=True):
    """The region's budget of replacements."""

    __tablename__ = "buckets"

    region: str = Field(primary_key=True, max_length=64)
    tokens: int
    refilled_at: datetime = Field(sa_type=UtcDateTime)


@dataclass(frozen=True)
class Bucket:
    """How many replacements the region may still admit now, and when the next one is."""

    tokens: int
    refilled_at: datetime
    next_at: datetime


async def nodes_of(session: AsyncSession, cluster_id: str) -> list[Node]:
    """The nodes of a cluster that are not removed, in the order of minting."""
    query = (
        select(NodeRecord)
        .where(col(NodeRecord.cluster_id) == cluster_id, col(NodeRecord.removed_at).is_(None))
        .order_by(col(NodeRecord.minted_at), col(NodeRecord.node_id))
    )
    return [_node(record) for record in (await session.execute(query)).scalars()]


async def removed_among(session: AsyncSession, node_ids: Collection[str]) -> dict[str, datetime]:
    """Which of these nodes are gone for good, whatever a late message says, and since when."""
    query = select(col(NodeRecord.node_id), col(NodeRecord.removed_at)).where(
        col(NodeRecord.node_id).in_(node_ids), col(NodeRecord.removed_at).is_not(None)
    )
    return {row[0]: row[1] for row in await session.execute(query) if row[1] is not None}


async def names_given(session: AsyncSession, cluster_id: str) -> set[str]:
    """The names of all nodes that the cluster has or ever had."""
    query = select(col(NodeRecord.name)).where(col(NodeRecord.cluster_id) == cluster_id)
    return set((await session.execute(query)).scalars())


async def save_nodes(session: AsyncSession, before: Sequence[Node], after: Sequence[Node], now: datetime) -> None:
    """Write the nodes that changed, and the end of those that are no more."""
    known = {node.node_id: node for node in before}
    for node in after:
        if known.get(node.node_id) != node:
            await session.merge(NodeRecord(**_columns(node)))
    remaining = {node.node_id for node in after}
    for node_id in known.keys() - remaining:
        record = await session.get_one(NodeRecord, node_id)
        record.removed_at = now
    await session.flush()


async def clusters_waiting_for(session: AsyncSession, rounds: Collection[Awaited]) -> Sequence[tuple[str, Awaited]]:
    """Clusters where something was refused that one of these rounds could lift, and which."""
    query = select(col(ClusterRecord.cluster_id), col(ClusterRecord.waits_for)).where(
        col(ClusterRecord.waits_for).in_([each.value for each in rounds])
    )
    return [(row.cluster_id, Awaited(row.waits_for)) for row in await session.execute(query)]


async def living_clusters(session: AsyncSession) -> Sequence[str]:
    """All clusters that are not deleted."""
    query = select(col(ClusterRecord.cluster_id)).where(col(ClusterRecord.deleted).is_(False))
    return (await session.execute(query)).scalars().all()


async def pools_of(session: AsyncSession, cluster_id: str) -> dict[str, PoolRecord]:
    """The pools of a cluster by id."""
    query = select(PoolRecord).where(col(PoolRecord.cluster_id) == cluster_id)
    return {record.pool_id: record for record in (await session.execute(query)).scalars()}


async def open_operations(session: AsyncSession, cluster_id: str) -> Sequence[OperationRecord]:
    """The operations of a cluster that have not ended, oldest first."""
    query = select(OperationRecord).where(
        col(OperationRecord.cluster_id) == cluster_id, col(OperationRecord.is_open).is_(True)
    )
    return (await session.execute(query.order_by(col(OperationRecord.operation_id)))).scalars().all()


async def forget_decisions(session: AsyncSession, before: datetime) -> None:
    """Drop older ones, of former pools and clusters too; found by their ids, which are in the order of time."""
    await session.execute(delete(DecisionRecord).where(col(DecisionRecord.decision_id) < first_id(before)))


async def stop_repeating(session: AsyncSession, subjects: Sequence[str]) -> None:
    """Facts of subjects that are no more: the next complete list lacks them, which ends them everywhere."""
    await session.execute(delete(announced).where(announced.c.subject.in_(subjects)))


async def bucket_of(session: AsyncSession, region: str, size: int, refill: timedelta, now: datetime) -> Bucket:
    """The region's budget as it is now."""
    record = await session.get(BucketRecord, region, with_for_update=True)
    if record is None:
        return Bucket(size, now, now)
    grown = max(0, int((now - record.refilled_at) / refill))
    refilled_at = record.refilled_at + grown * refill
    tokens = min(size, record.tokens + grown)
    return Bucket(tokens, now if tokens == size else refilled_at, refilled_at + refill)


async def spend(session: AsyncSession, region: str, bucket: Bucket, tokens: int) -> None:
    """Take tokens out of the region's budget."""
    await session.merge(
        BucketRecord(region=region, tokens=max(0, bucket.tokens - tokens), refilled_at=bucket.refilled_at)
    )


def memory_of(record: PoolRecord) -> Memory:
    """What the pool's decisions remember."""
    return _MEMORY.validate_python(record.memory)


def memory_document(memory: Memory) -> dict[str, Any]:
    """The memory as it is stored."""
    document: dict[str, Any] = _MEMORY.dump_python(memory, mode="json")
    return document


def _columns(node: Node) -> dict[str, Any]:
    columns = {name: getattr(node, name) for name in NodeRecord.model_fields if name != "removed_at"}
    reason = node.reason.model_dump(mode="json") if node.reason is not None else None
    spec = node.spec.model_dump(mode="json")
    return columns | {"role": node.role.value, "wanted": node.wanted.value, "spec": spec, "reason": reason}


def _node(record: NodeRecord) -> Node:
    columns = {name: getattr(record, name) for name in NodeRecord.model_fields if name != "removed_at"}
    return Node(
        **columns
        | {
            "role": Role(record.role),
            "wanted": Wanted(record.wanted),
            "spec": NodeSpec.model_validate(record.spec),
            "reason": Reason.model_validate(record.reason) if record.reason is not None else None,
        }
    )
