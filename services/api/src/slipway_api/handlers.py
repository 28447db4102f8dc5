"""What happens with an event: the fact is kept by the chassis; here it joins the stream and its cluster is dirty."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, update

from slipway_api.feed import Feed
from slipway_api.read_model import names_of
from slipway_api.reconciler import CLUSTER
from slipway_api.store import ClusterRow, OperationRow
from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_contracts.envelope import Event
from slipway_contracts.healer import NodeTable, PoolRefusals
from slipway_contracts.monitor import EtcdMembership, NodeHealth, RegionTrust
from slipway_contracts.operations import Operation, OperationState
from slipway_contracts.values import Mover, Reason

NAMES_OTHERS = (NodeTable, NodeHealth, PoolRefusals, EtcdMembership)
"""Bodies that speak of pools and nodes by their ids: their sentences need the names."""

OnEvent = Callable[[AsyncSession, Any], Awaitable[None]]


class Handlers:
    """The handlers; each is one short transaction in the own database."""

    def __init__(self, feed: Feed, clock: Clock) -> None:
        self._feed = feed
        self._clock = clock

    async def on_cluster_event(self, session: AsyncSession, event: Event[Any]) -> None:
        """Anything about a cluster."""
        cluster_id = getattr(event.data, "cluster_id", None)
        row = await session.get(ClusterRow, cluster_id) if cluster_id else None
        if row is None:
            return
        names = await names_of(session, row) if isinstance(event.data, NAMES_OTHERS) else {}
        await self._feed.record(session, event, names)
        await work.mark_dirty(session, CLUSTER, row.cluster_id, self._clock.now())

    async def on_operation(self, session: AsyncSession, event: Event[Operation]) -> None:
        """What the owner of an operation says of it."""
        body = event.data
        await session.execute(
            update(OperationRow)
            .where(col(OperationRow.operation_id) == body.operation_id)
            .values(
                state=body.state.value,
                percent=100 if body.state is OperationState.SUCCEEDED else body.percent,
                steps=[step.model_dump(mode="json") for step in body.steps],
                cause=body.cause.model_dump(mode="json") if body.cause else None,
                finished_at=body.finished_at,
            )
        )
        if body.state is OperationState.SUCCEEDED:
            await self._end_overtaken(session, body)
        await self.on_cluster_event(session, event)

    async def _end_overtaken(self, session: AsyncSession, body: Operation) -> None:
        """Earlier operations whose desired state was replaced before anybody acted on it have no owner."""
        reason = Reason(code="Overtaken", message="A later change took its place.", whose_move=Mover.NOBODY)
        await session.execute(
            update(OperationRow)
            .where(
                col(OperationRow.cluster_id) == body.cluster_id,
                col(OperationRow.generation) < body.generation,
                col(OperationRow.finished_at).is_(None),
            )
            .values(
                state=OperationState.SUCCEEDED.value,
                percent=100,
                cause=reason.model_dump(mode="json"),
                finished_at=body.finished_at or self._clock.now(),
            )
        )

    async def on_region_observed(self, session: AsyncSession, event: Event[RegionTrust]) -> None:
        """The fact is all that is needed: /v1/regions shows it."""
