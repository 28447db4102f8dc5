"""One look at one cluster: what is read for it, and what is written after it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.outbox import Announcer
from slipway_contracts.api import ClusterSpec, PoolSpec
from slipway_contracts.healer import Refusal
from slipway_contracts.operations import Operation, OperationState
from slipway_healer import store
from slipway_healer.announcements import Voice
from slipway_healer.domain import progress
from slipway_healer.domain.adoption import merge
from slipway_healer.domain.model import Node
from slipway_healer.domain.record import steady
from slipway_healer.domain.rows import Names
from slipway_healer.observation import Observed, observe
from slipway_healer.store import ClusterRecord, OperationRecord, PoolRecord


@dataclass
class Visit:
    """What was read of a cluster, and what becomes of it."""

    session: AsyncSession
    record: ClusterRecord
    seen: Observed
    now: datetime
    before: list[Node]
    nodes: list[Node]
    pools: dict[str, PoolRecord]
    voice: Voice
    refusals: dict[str, Sequence[Refusal]] = field(default_factory=dict)
    times: list[datetime] = field(default_factory=list)
    """When something has to be looked at again."""
    tokens: int = 0
    names: Names | None = None
    """Made when the first node is to be named: a quiet look does not read the names of all nodes that ever were."""

    @property
    def spec(self) -> ClusterSpec:
        """The cluster's desired state."""
        return self.seen.spec

    def all_pools(self) -> list[PoolSpec]:
        """The pools of the spec, and those that were in it before, with nothing wanted in them."""
        former = [each for pool_id, each in self.pools.items() if self.spec.pool(pool_id) is None]
        return [*self.spec.pools, *(PoolSpec.model_validate(each.spec | {"count": 0}) for each in former)]

    def nodes_of(self, pool_id: str) -> list[Node]:
        """The nodes of a pool."""
        return [node for node in self.nodes if node.pool_id == pool_id]


async def begin_visit(
    session: AsyncSession, announcer: Announcer, cluster_id: str, region: str, now: datetime
) -> Visit | None:
    """Read all about the cluster; None when its spec is not known."""
    seen = await observe(session, cluster_id, region)
    if seen is None:
        return None
    record = await session.get(ClusterRecord, cluster_id)
    if record is None:
        record = ClusterRecord(cluster_id=cluster_id, first_seen_at=now, hold_since=now)
        session.add(record)
    before = await store.nodes_of(session, cluster_id)
    ended_at = await store.removed_among(session, [report.node_id for report in seen.reported])
    # said after its end: the provisioner's database went back, and has made the node again
    back = {node_id for node_id, ended in ended_at.items() if seen.said_at.get(node_id, ended) > ended}
    removed = ended_at.keys() - back
    nodes = merge(before, seen.reported, seen.ended, seen.health, removed=removed, listed_at=seen.listed_at)
    pools = await store.pools_of(session, cluster_id)
    return Visit(session, record, seen, now, before, nodes, pools, Voice(announcer, session, seen))


async def say_pools(visit: Visit) -> None:
    """Announce each pool's table and refusals; a former pool ends when its last node is gone."""
    for pool in visit.all_pools():
        record, nodes = visit.pools[pool.pool_id], visit.nodes_of(pool.pool_id)
        if visit.spec.pool(pool.pool_id) is None and not nodes:
            await visit.voice.pool_removed(pool)
            await store.stop_repeating(visit.session, visit.voice.lasting_subjects([pool.pool_id])[1:])
            await visit.session.delete(record)
            continue
        await visit.voice.table(pool, nodes)
        said = [Refusal.model_validate(each) for each in record.refusals]
        refusals = steady(said, visit.refusals.get(pool.pool_id, ()), visit.now)
        if said or refusals:
            await visit.voice.refusals(pool, refusals)
        record.refusals = [refusal.model_dump(mode="json") for refusal in refusals]


async def say_operations(visit: Visit, wanted_addons: Sequence[str]) -> None:
    """Begin the operation of a new generation, and announce how far each open one is."""
    await _ensure_begun(visit)
    picture = progress.Picture(
        spec=visit.spec,
        nodes=visit.nodes,
        infrastructure=visit.seen.infrastructure,
        addons=visit.seen.addons,
        refusals=[refusal for refusals in visit.refusals.values() for refusal in refusals],
        deleted=visit.seen.is_deleted,
        wanted_addons=wanted_addons,
    )
    for record in await store.open_operations(visit.session, visit.spec.cluster_id):
        operation = Operation.model_validate(record.document)
        overtaken = visit.spec.deletion_requested_at is not None and operation.operation_id != visit.spec.operation_id
        if overtaken:
            operation = progress.superseded(operation, visit.now)
        else:
            operation = progress.advanced(operation, picture, visit.now)
        await visit.voice.operation(operation)
        record.document = operation.model_dump(mode="json")
        record.is_open = operation.state in (OperationState.RUNNING, OperationState.BLOCKED)


async def _ensure_begun(visit: Visit) -> None:
    spec = visit.spec
    before = None if visit.record.spec is None else ClusterSpec.model_validate(visit.record.spec)
    if before is not None and before.operation_id == spec.operation_id:
        return
    if await visit.session.get(OperationRecord, spec.operation_id) is not None:
        return
    operation = progress.begun(spec, progress.kind_of(spec, before), visit.now)
    document = operation.model_dump(mode="json")
    visit.session.add(OperationRecord(operation_id=spec.operation_id, cluster_id=spec.cluster_id, document=document))
    await visit.session.flush()
