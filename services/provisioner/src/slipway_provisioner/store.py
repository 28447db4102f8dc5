"""The provisioner's tables: clusters, nodes and the ledger of every resource in the cloud; and the queries on them.

Tables are storage, never contracts: enums are stored as their values, contract values as the JSON they dump to.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index, MetaData, Text, UniqueConstraint, bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel, col

from slipway_chassis.database import UtcDateTime
from slipway_chassis.regions import Reach
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase, ServerState

metadata = MetaData()
"""This service's own; several services share one process in a simulation."""


class Row(SQLModel, registry=registry(metadata=metadata)):
    """The base of all tables of this service."""


class ClusterRecord(Row, table=True):
    """The shared parts of one cluster. It stays, as DELETED, after the cluster is gone: ids are never reused."""

    __tablename__ = "clusters"

    cluster_id: str = Field(primary_key=True, max_length=64)
    project_id: str = Field(max_length=64, index=True)
    name: str = Field(max_length=63)
    phase: str = Field(default=InfrastructurePhase.PENDING.value, max_length=20)
    since: datetime = Field(sa_type=UtcDateTime)
    endpoint_address: str | None = Field(default=None, max_length=64)
    endpoint_port: int = 6443
    etcd_formed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a member first saw a quorum: from then on a member that has lost its data joins as another one."""
    public_address: str | None = Field(default=None, max_length=64)
    """Where others than its nodes reach the endpoint, in a region whose networks they do not share."""
    balancer_members: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    """Controllers behind the endpoint, node id -> [address, weight], as the load balancer last had them, settled."""
    parts_checked_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the shared parts were last seen to be whole."""
    bound_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the services' own bindings were last seen in the cluster."""
    lowest_release: str | None = Field(default=None, max_length=32)
    highest_release: str | None = Field(default=None, max_length=32)
    done: list[str] = Field(default_factory=list, sa_type=JSON)
    """Names of the steps that are done (domain.progress.INFRASTRUCTURE_STEPS)."""
    waiting: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    remaining: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    reach: str = Field(default=Reach.FLAT.value, max_length=20)
    """How all but its own nodes get to the endpoint (chassis.regions)."""

    @property
    def outer_address(self) -> str | None:
        """Where services and users reach the endpoint, once that is known; its own nodes use `endpoint_address`."""
        if self.reach == Reach.FLOATING_IP.value:
            return self.public_address
        return self.endpoint_address


class NodeRecord(Row, table=True):
    """One node. It stays, as REMOVED, after the node is gone: a late row of a node table must not make it again."""

    __tablename__ = "nodes"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    pool_id: str = Field(max_length=64)
    project_id: str = Field(max_length=64, index=True)
    name: str = Field(max_length=63)
    role: str = Field(max_length=20)
    row: dict[str, Any] = Field(sa_type=JSON)
    """The last accepted row of the node table (contracts' NodeRow)."""
    incarnation: int = 1
    """Of the server that is there or being made; the row's may be greater."""
    reboots: int = 0
    """How many of the row's reboots were started."""
    phase: str = Field(default=NodePhase.PENDING.value, max_length=20)
    since: datetime = Field(sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    server_state: str = Field(default=ServerState.NONE.value, max_length=20)
    server_id: str | None = Field(default=None, max_length=64, index=True)
    port_id: str | None = Field(default=None, max_length=64)
    addresses: list[str] = Field(default_factory=list, sa_type=JSON)
    zone: str | None = Field(default=None, max_length=64)
    host: str | None = Field(default=None, max_length=255)
    active_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    joined_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When a stopped server was last started by us: it is done once an incarnation."""
    drained_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When its drain began."""
    drain_done: bool = False
    """Nothing was left to evict."""
    cordoned: bool = False
    """We keep new pods away from it."""
    rebooted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When the reboot at hand was asked for."""
    reregister_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When its kubelet was last told to start anew, because its Node object is not there."""
    fault: str | None = Field(default=None, sa_type=Text)
    """What the cloud says of a server in ERROR."""
    waiting: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    cause: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    evidence: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    stale: bool = False


class EntryState(StrEnum):
    """How far a resource of the ledger is."""

    FOUND = "found"
    """In the cloud, with a mark that only we make, and without an entry: the ledger had forgotten it."""
    INTENDED = "intended"
    CREATED = "created"
    DELETING = "deleting"
    GONE = "gone"


class LedgerEntry(Row, table=True):
    """One resource of the cloud: committed as intended before it is asked for, kept until it is verified gone."""

    __tablename__ = "ledger"
    __table_args__ = (UniqueConstraint("cluster_id", "key"), Index("ix_ledger_node", "node_id"))

    resource_id: str = Field(primary_key=True, max_length=64)
    """Our own id; the resource carries it, so that it can be recognised after a crash."""
    cluster_id: str = Field(max_length=64)
    key: str = Field(max_length=120)
    """What it is for: security_group/etcd, port/<node id>/1, server/<node id>/<incarnation>."""
    node_id: str | None = Field(default=None, max_length=64)
    kind: str = Field(max_length=20)
    name: str = Field(max_length=255)
    project_id: str = Field(max_length=64)
    state: str = Field(default=EntryState.INTENDED.value, max_length=20)
    cloud_id: str | None = Field(default=None, max_length=64)
    attempted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When it was last asked for with an unknown outcome: it may still appear."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    changed_at: datetime = Field(sa_type=UtcDateTime)


def server_key(node_id: str, incarnation: int) -> str:
    """What a node's server of this incarnation is in the ledger."""
    return f"server/{node_id}/{incarnation}"


class ProjectWatch(Row, table=True):
    """How far the list of servers of one project was read."""

    __tablename__ = "project_watches"

    project_id: str = Field(primary_key=True, max_length=64)
    changes_since: datetime | None = Field(default=None, sa_type=UtcDateTime)
    full_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


# Statements are built once: building one costs more than running it.
_OF_CLUSTER = col(LedgerEntry.cluster_id) == bindparam("of_cluster")
_FOR = select(LedgerEntry).where(_OF_CLUSTER, col(LedgerEntry.key) == bindparam("of_key"))
_UNDER = select(LedgerEntry).where(
    _OF_CLUSTER,
    (col(LedgerEntry.key) == bindparam("of_key")) | col(LedgerEntry.key).like(bindparam("of_numbered"), escape="|"),
)
_THERE = (
    select(LedgerEntry)
    .where(_OF_CLUSTER, col(LedgerEntry.state) != EntryState.GONE.value)
    .order_by(col(LedgerEntry.created_at), col(LedgerEntry.resource_id))
)
_THERE_OF_NODE = _THERE.where(col(LedgerEntry.node_id) == bindparam("of_node"))
_NODES = (
    select(NodeRecord).where(col(NodeRecord.cluster_id) == bindparam("of_cluster")).order_by(col(NodeRecord.node_id))
)


async def nodes_of(session: AsyncSession, cluster_id: str) -> Sequence[NodeRecord]:
    """All nodes of a cluster, removed ones included, by id."""
    return (await session.execute(_NODES, {"of_cluster": cluster_id})).scalars().all()


async def nodes_in_project(session: AsyncSession, project_id: str) -> Sequence[NodeRecord]:
    """All nodes of a project that are not removed, by id."""
    query = (
        select(NodeRecord)
        .where(col(NodeRecord.project_id) == project_id, col(NodeRecord.phase) != NodePhase.REMOVED.value)
        .order_by(col(NodeRecord.node_id))
    )
    return (await session.execute(query)).scalars().all()


async def ports_lost(session: AsyncSession, node_id: str) -> int:
    """How many ports of the node are behind it: deleted by us or behind our back."""
    query = select(col(LedgerEntry.key), col(LedgerEntry.state)).where(
        col(LedgerEntry.node_id) == node_id, col(LedgerEntry.kind) == "port"
    )
    return _used_up({int(key.rpartition("/")[2]): state for key, state in await session.execute(query)})


async def newest_under(session: AsyncSession, cluster_id: str, key: str) -> tuple[str, LedgerEntry | None]:
    """Of all that a cluster ever had for this: the key of what is there, or of what is made next, and its entry.

    The keys of all but the first end in a number.
    """
    values = {"of_cluster": cluster_id, "of_key": key, "of_numbered": f"{key.replace('_', '|_')}/%"}
    entries = (await session.execute(_UNDER, values)).scalars().all()
    states = {1 if each.key == key else int(each.key.removeprefix(f"{key}/")): each.state for each in entries}
    number = 1 + _used_up(states)
    numbered = key if number == 1 else f"{key}/{number}"
    return numbered, next((each for each in entries if each.key == numbered), None)


def _used_up(states: dict[int, str]) -> int:
    """How many numbers are used up: the next one names what is there, or else what is made next.

    The count of what is gone would not do: a ledger that was restored may know of a second port and not of the first.
    """
    there = [number for number, state in states.items() if state != EntryState.GONE.value]
    return min(there) - 1 if there else max(states, default=0)


async def entry_for(session: AsyncSession, cluster_id: str, key: str) -> LedgerEntry | None:
    """The ledger's entry for this purpose."""
    return (await session.execute(_FOR, {"of_cluster": cluster_id, "of_key": key})).scalar_one_or_none()


async def entries_of(session: AsyncSession, cluster_id: str, *, node_id: str | None = None) -> Sequence[LedgerEntry]:
    """The entries of a cluster, or of one of its nodes, that are not gone; in the order they were intended."""
    query, values = _THERE, {"of_cluster": cluster_id}
    if node_id is not None:
        query, values = _THERE_OF_NODE, values | {"of_node": node_id}
    return (await session.execute(query, values)).scalars().all()


async def entry_by_id(session: AsyncSession, cluster_id: str, resource_id: str | None) -> LedgerEntry | None:
    """The entry with this ledger id, gone or not, if it is the cluster's."""
    entry = await session.get(LedgerEntry, resource_id) if resource_id else None
    return entry if entry is not None and entry.cluster_id == cluster_id else None


async def entries_by_id(session: AsyncSession, resource_ids: Sequence[str]) -> Sequence[LedgerEntry]:
    """Those of these ledger ids that there are, gone or not."""
    if not resource_ids:
        return ()
    query = select(LedgerEntry).where(col(LedgerEntry.resource_id).in_(resource_ids))
    return (await session.execute(query)).scalars().all()
