"""What people see of a cluster: read from facts and from the api's own rows, and projected for lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_api.domain.states import ClusterFacts, NodeFacts, OperationStatus, decide_condition
from slipway_api.store import ClusterRow, OperationRow, StatusRow
from slipway_chassis.facts import Fact, facts_of
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeRow, NodeTable, PoolRefusals, Wanted
from slipway_contracts.monitor import ClusterHealth, EtcdMembership, NodeHealth
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import ClusterInfrastructure, NodeState
from slipway_contracts.values import Reason


def spec_of(row: ClusterRow) -> ClusterSpec:
    """The desired state that a row holds."""
    return ClusterSpec.model_validate_json(row.spec)


async def observe_cluster(session: AsyncSession, row: ClusterRow) -> ClusterFacts:
    """All that is known of a cluster."""
    spec = spec_of(row)
    cluster_id = row.cluster_id
    operation = await session.get(OperationRow, spec.operation_id)
    infrastructure = await facts_of(session, ClusterInfrastructure, cluster_id=cluster_id, ended=True)
    health = await facts_of(session, ClusterHealth, cluster_id=cluster_id)
    etcd = await facts_of(session, EtcdMembership, cluster_id=cluster_id)
    tables = await facts_of(session, NodeTable, cluster_id=cluster_id)
    refusals = await facts_of(session, PoolRefusals, cluster_id=cluster_id)
    states = await facts_of(session, NodeState, cluster_id=cluster_id, ended=True)
    healths = await facts_of(session, NodeHealth, cluster_id=cluster_id)
    bodies = [fact.body for fact in tables]
    return ClusterFacts(
        spec=spec,
        operation=_status(operation),
        infrastructure=infrastructure[0].body if infrastructure else None,
        health=health[0].body if health else None,
        etcd=etcd[0].body if etcd else None,
        tables=bodies,
        refusals=[fact.body for fact in refusals],
        nodes=merge_nodes(bodies, states, [fact.body for fact in healths]),
        deleted=row.deleted_at is not None or any(fact.ended for fact in infrastructure),
    )


def merge_nodes(
    tables: Sequence[NodeTable], states: Sequence[Fact[NodeState]], healths: Sequence[NodeHealth]
) -> list[NodeFacts]:
    """One entry a node, by name: what the healer wants of it, how far it is, how it is."""
    health_of = {health.node_id: health for health in healths}
    state_of = {fact.body.node_id: fact.body for fact in states if not fact.ended}
    gone = {fact.body.node_id for fact in states if fact.ended}
    rows: dict[str, NodeRow] = {state.node_id: state.row for state in state_of.values()}
    for table in tables:
        rows.update({row.node_id: row for row in table.nodes})
    return [
        NodeFacts(row, state_of.get(node_id), health_of.get(node_id))
        for node_id, row in sorted(rows.items(), key=lambda item: item[1].name)
        if node_id in state_of or (node_id not in gone and row.wanted is Wanted.PRESENT)
    ]


async def removed_nodes(session: AsyncSession, cluster_id: str) -> list[NodeFacts]:
    """The cluster's nodes that are gone, as far as their endings are still known; the last to go first."""
    states = [fact.body for fact in await facts_of(session, NodeState, cluster_id=cluster_id, ended=True) if fact.ended]
    return [NodeFacts(state.row, state, None) for state in sorted(states, key=lambda each: each.since, reverse=True)]


def _status(row: OperationRow | None) -> OperationStatus | None:
    if row is None:
        return None
    cause = Reason.model_validate(row.cause) if row.cause else None
    return OperationStatus(OperationState(row.state), row.percent, cause)


async def names_of(session: AsyncSession, row: ClusterRow) -> dict[str, str]:
    """The names of a cluster's pools and nodes by their ids."""
    names = {pool.pool_id: pool.name for pool in spec_of(row).pools}
    for fact in await facts_of(session, NodeTable, cluster_id=row.cluster_id):
        names.update({node.node_id: node.name for node in fact.body.nodes})
    return names


async def project_status(session: AsyncSession, row: ClusterRow, now: datetime) -> ClusterFacts:
    """Bring the cluster's row in lists up to date; a projection of an older generation never wins."""
    facts = await observe_cluster(session, row)
    condition = decide_condition(facts)
    values: dict[str, Any] = {
        "generation": row.generation,
        "state": condition.state.value,
        "reason": condition.reason.model_dump(mode="json") if condition.reason else None,
        "nodes_wanted": facts.nodes_wanted,
        "nodes_ready": facts.nodes_ready,
        "percent": facts.operation.percent if facts.operation else 0,
        "endpoint": facts.infrastructure.endpoint if facts.infrastructure else None,
    }
    known = (
        await session.execute(select(StatusRow).where(col(StatusRow.cluster_id) == row.cluster_id))
    ).scalar_one_or_none()
    if known is None:
        session.add(StatusRow(cluster_id=row.cluster_id, updated_at=now, **values))
        await session.flush()
    elif any(getattr(known, name) != value for name, value in values.items()):
        await session.execute(
            update(StatusRow)
            .where(col(StatusRow.cluster_id) == row.cluster_id, col(StatusRow.generation) <= row.generation)
            .values(**values, updated_at=now)
        )
    return facts
