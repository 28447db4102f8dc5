"""What the provisioner does with each event: mark what is to be looked at. The fact itself was recorded before."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_chassis.inbox import RESYNC_KIND
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import Event
from slipway_contracts.healer import ClusterHoldChanged, NodeTable
from slipway_contracts.monitor import EtcdMembership
from slipway_provisioner.context import CLUSTER, NODE, TABLE
from slipway_provisioner.store import ClusterRecord, nodes_of
from slipway_provisioner.store_etcd import PlaceState, places_of

FIRST = timedelta(seconds=1)
"""Work is taken in the order of its time: the empty list goes out before anything is made."""


class Handlers:
    """Marks objects dirty on the service's clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def on_cluster_spec_changed(self, session: AsyncSession, event: ClusterSpecChanged) -> None:
        """On first sight say at once, with an empty list, that this cluster has no nodes: the healer waits for it."""
        cluster_id, now = event.data.cluster_id, self._clock.now()
        if await session.get(ClusterRecord, cluster_id) is None:
            await work.mark_dirty(session, RESYNC_KIND, cluster_id, now - FIRST)
        await work.mark_dirty(session, CLUSTER, cluster_id, now)
        await self._nodes(session, cluster_id)

    async def on_pool_changed(self, session: AsyncSession, event: Event[NodeTable]) -> None:
        """A node table is new: its rows are taken over."""
        key = f"{event.data.cluster_id}/{event.data.pool_id}"
        await work.mark_dirty(session, TABLE, key, self._clock.now())

    async def on_cluster_hold_changed(self, session: AsyncSession, event: ClusterHoldChanged) -> None:
        """A pause begins or ends."""
        await self._nodes(session, event.data.cluster_id)

    async def on_etcd_membership(self, session: AsyncSession, event: Event[EtcdMembership]) -> None:
        """Who can help a member into etcd may be somebody else; that matters only while one is on its way."""
        for place in await places_of(session, event.data.cluster_id):
            if place.state != PlaceState.MEMBER.value:
                await work.mark_dirty(session, NODE, place.node_id, self._clock.now())

    async def _nodes(self, session: AsyncSession, cluster_id: str) -> None:
        for node in await nodes_of(session, cluster_id):
            if node.phase != "removed":
                await work.mark_dirty(session, NODE, node.node_id, self._clock.now())
