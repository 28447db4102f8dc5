"""Finding what a caller names; what is not hers does not exist for her."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_api.domain.people import Caller
from slipway_api.domain.problems import Problem
from slipway_api.domain.states import NodeFacts
from slipway_api.store import ClusterRow, NameRow, OperationRow
from slipway_contracts.api import ClusterSpec, PoolSpec


async def find_cluster(session: AsyncSession, caller: Caller, name_or_id: str) -> ClusterRow:
    """The caller's cluster of this name or id; a name means the one that is not deleted yet."""
    named = await session.get(NameRow, (caller.project_id, name_or_id))
    row = await session.get(ClusterRow, named.cluster_id if named is not None else name_or_id)
    if row is None or row.project_id != caller.project_id or row.region not in caller.regions:
        raise Problem(
            "not_found",
            f"There is no cluster {name_or_id[:80]!r} in the project {caller.project_name}; "
            "'slipway cluster list' shows which there are.",
        )
    return row


def find_pool(spec: ClusterSpec, name_or_id: str) -> PoolSpec:
    """The pool of this name or id."""
    for pool in spec.pools:
        if name_or_id in (pool.pool_id, pool.name):
            return pool
    known = ", ".join(pool.name for pool in spec.pools)
    raise Problem("not_found", f"The cluster {spec.name} has no pool {name_or_id[:80]!r}; it has: {known}.")


def find_node(nodes: Sequence[NodeFacts], name_or_id: str, cluster: str) -> NodeFacts:
    """The node of this name or id."""
    for node in nodes:
        if name_or_id in (node.row.node_id, node.row.name):
            return node
    raise Problem(
        "not_found",
        f"The cluster {cluster} has no node {name_or_id[:80]!r}; 'slipway node list {cluster}' shows which it has.",
    )


async def find_operation(session: AsyncSession, caller: Caller, operation_id: str) -> OperationRow:
    """The caller's operation of this id."""
    row = await session.get(OperationRow, operation_id)
    if row is None or row.project_id != caller.project_id or row.region not in caller.regions:
        raise Problem(
            "not_found",
            f"There is no operation {operation_id[:80]!r} in the project {caller.project_name}; "
            "'slipway operation list' shows which there are.",
        )
    return row


async def cluster_names(session: AsyncSession, cluster_ids: Sequence[str]) -> dict[str, str]:
    """The names of clusters by their ids."""
    if not cluster_ids:
        return {}
    query = select(col(ClusterRow.cluster_id), col(ClusterRow.name)).where(
        col(ClusterRow.cluster_id).in_(set(cluster_ids))
    )
    return {row[0]: row[1] for row in (await session.execute(query)).all()}
