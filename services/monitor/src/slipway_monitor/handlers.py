"""What happens when a fact arrives: the cluster that it is about is looked at."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_contracts.envelope import Event
from slipway_monitor.reconciler_cluster import KIND as CLUSTER


def on_cluster_changed(clock: Clock) -> Callable[[AsyncSession, Event[Any]], Awaitable[None]]:
    """Spec, infrastructure, a node, or a complete list of them: judge the cluster anew."""

    async def on_change(session: AsyncSession, event: Event[Any]) -> None:
        await work.mark_dirty(session, CLUSTER, event.data.cluster_id, clock.now())

    return on_change


def on_spec_changed(clock: Clock, region: str) -> Callable[[AsyncSession, Event[Any]], Awaitable[None]]:
    """As above, for clusters of this region only."""
    changed = on_cluster_changed(clock)

    async def on_change(session: AsyncSession, event: Event[Any]) -> None:
        if event.data.region == region:
            await changed(session, event)

    return on_change
