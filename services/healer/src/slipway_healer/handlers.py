"""What the healer does with events: it marks the clusters they speak of as dirty. The facts are recorded already."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_contracts.envelope import Event
from slipway_contracts.monitor import RegionObserved
from slipway_healer import store
from slipway_healer.domain.model import Awaited
from slipway_healer.store import CLUSTER


class Handlers:
    """Each handler runs in the transaction that recorded the event's fact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_cluster_event(self, session: AsyncSession, event: Event[Any]) -> None:
        """Something about a cluster changed: decide again."""
        await work.mark_dirty(session, CLUSTER, event.data.cluster_id, self._clock.now())

    async def on_region_observed(self, session: AsyncSession, event: RegionObserved) -> None:
        """A round ended: decide again where it could lift a refusal; elsewhere it costs nothing."""
        trust = event.data
        rounds = (Awaited.ANY, Awaited.SEEING, *((Awaited.TRUSTED,) if trust.trusted else ()))
        for cluster_id, waits_for in await store.clusters_waiting_for(session, rounds):
            if waits_for is not Awaited.SEEING or cluster_id not in trust.clusters_unseen:
                await work.mark_dirty(session, CLUSTER, cluster_id, self._clock.now())
