"""Lists, page by page, of what a caller owns."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.store import ClusterRow, OperationRow, StatusRow
from slipway_chassis.facts import facts_of_clusters
from slipway_contracts.monitor import Alert


@dataclass(frozen=True)
class PageRequest:
    """Which part of a list: at most `limit` entries after the one with the id `marker`."""

    limit: int
    marker: str | None = None


async def list_clusters(
    session: AsyncSession,
    caller: Caller,
    page: PageRequest,
    *,
    name: str | None,
    states: Sequence[str],
    region: str | None,
) -> list[tuple[ClusterRow, StatusRow]]:
    """The caller's clusters, oldest first, one more than asked for where there are more. Deleted ones are left out
    unless asked for."""
    query = (
        select(ClusterRow, StatusRow)
        .join(StatusRow, col(StatusRow.cluster_id) == col(ClusterRow.cluster_id))
        .where(col(ClusterRow.project_id) == caller.project_id, col(ClusterRow.region).in_(caller.regions))
        .order_by(col(ClusterRow.cluster_id))
        .limit(page.limit + 1)
    )
    if name is not None:
        query = query.where(col(ClusterRow.name) == name)
    if region is not None:
        query = query.where(col(ClusterRow.region) == region)
    query = query.where(col(StatusRow.state).in_(states) if states else col(StatusRow.state) != "deleted")
    if page.marker is not None:
        await _require_own(session, caller, ClusterRow, page.marker)
        query = query.where(col(ClusterRow.cluster_id) > page.marker)
    return [(row[0], row[1]) for row in (await session.execute(query)).all()]


async def list_operations(
    session: AsyncSession, caller: Caller, page: PageRequest, *, cluster_id: str | None, states: Sequence[str]
) -> list[OperationRow]:
    """The caller's operations, newest first, one more than asked for where there are more."""
    query = (
        select(OperationRow)
        .where(col(OperationRow.project_id) == caller.project_id, col(OperationRow.region).in_(caller.regions))
        .order_by(col(OperationRow.operation_id).desc())
        .limit(page.limit + 1)
    )
    if cluster_id is not None:
        query = query.where(col(OperationRow.cluster_id) == cluster_id)
    if states:
        query = query.where(col(OperationRow.state).in_(states))
    if page.marker is not None:
        await _require_own(session, caller, OperationRow, page.marker)
        query = query.where(col(OperationRow.operation_id) < page.marker)
    return list((await session.execute(query)).scalars())


async def list_alerts(session: AsyncSession, caller: Caller, *, cluster_id: str | None, resolved: bool) -> list[Alert]:
    """The alerts of the caller's clusters, or of one of them, newest first."""
    query = select(col(ClusterRow.cluster_id)).where(
        col(ClusterRow.project_id) == caller.project_id, col(ClusterRow.region).in_(caller.regions)
    )
    if cluster_id is not None:
        query = query.where(col(ClusterRow.cluster_id) == cluster_id)
    own = set((await session.execute(query)).scalars())
    found = [fact.body for fact in await facts_of_clusters(session, Alert, own, ended=resolved)]
    return sorted(found, key=lambda each: each.raised_at, reverse=True)


async def _require_own(
    session: AsyncSession, caller: Caller, table: type[ClusterRow] | type[OperationRow], marker: str
) -> None:
    row: ClusterRow | OperationRow | None = await session.get(table, marker)
    if row is None or row.project_id != caller.project_id:
        problem = FieldProblem(
            "invalid_field", "marker", f"nothing has the id {marker[:80]!r}", "Take `next` of the page before."
        )
        raise Problem("invalid_field", f"marker: {problem.message}", (problem,))
