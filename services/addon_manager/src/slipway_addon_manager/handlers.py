"""What the addon manager does with events: it marks the clusters they speak of as dirty."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_addon_manager.reconciler import KIND
from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_contracts.envelope import Event


class Handlers:
    """Each handler runs in the transaction that recorded the event's fact."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_cluster_event(self, session: AsyncSession, event: Event[Any]) -> None:
        """Something about a cluster changed: look at it."""
        await work.mark_dirty(session, KIND, event.data.cluster_id, self._clock.now())

    async def on_facts_announced(self, session: AsyncSession, event: Event[Any]) -> None:
        """A complete list may end facts by their absence; only the api's and the provisioner's matter here."""
        if event.source.startswith(("api/", "provisioner/")):
            await self.on_cluster_event(session, event)
