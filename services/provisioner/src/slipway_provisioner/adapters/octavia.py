"""The endpoint as an Octavia load balancer: listener, pool and health monitor on the endpoint's port."""

from collections.abc import Sequence

import structlog

from slipway_chassis import crash, regions
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.model import (
    BalancerOrder,
    Found,
    Kind,
    ListenerOrder,
    Mark,
    Member,
    MemberView,
    MonitorOrder,
    PoolOrder,
)
from slipway_provisioner.ports import Cloud, Conflict, EndpointParts, Ordered

log = structlog.get_logger()

BALANCER, LISTENER, POOL, MONITOR = "load_balancer", "listener", "pool", "health_monitor"
"""The parts' keys in the ledger."""

_INSIDE = ((Kind.HEALTH_MONITOR, MONITOR), (Kind.POOL, POOL), (Kind.LISTENER, LISTENER))
"""What goes with the load balancer."""

ACTIVE, ERROR = "ACTIVE", "ERROR"


class OctaviaEndpoint:
    """See ports.Endpoint. Octavia takes one change of a load balancer at a time, and refuses all others with 409."""

    def __init__(self, cloud: Cloud, region: regions.Endpoint) -> None:
        self._cloud = cloud
        self._region = region

    async def ensure(self, parts: EndpointParts, port_id: str, *, established: bool) -> None:
        """See ports.Endpoint."""

        def balancer_order(name: str, mark: Mark) -> BalancerOrder:
            return BalancerOrder(name, mark, port_id)

        balancer = await self._balancer(parts, balancer_order, established=established)
        attached = await parts.known(POOL) if await parts.known(LISTENER) is None else None

        def listener_order(name: str, mark: Mark) -> ListenerOrder:
            return ListenerOrder(name, mark, balancer, self._region.port, attached)

        listener = await self._inside(parts, Kind.LISTENER, LISTENER, listener_order, established)

        def pool_order(name: str, mark: Mark) -> PoolOrder:
            return PoolOrder(name, mark, listener)

        pool = await self._inside(parts, Kind.POOL, POOL, pool_order, established)

        def monitor_order(name: str, mark: Mark) -> MonitorOrder:
            return MonitorOrder(name, mark, pool, self._region.ready_delay)

        await self._inside(parts, Kind.HEALTH_MONITOR, MONITOR, monitor_order, established)

    async def take_away(self, parts: EndpointParts) -> None:
        """See ports.Endpoint."""
        await parts.take_away(BALANCER)
        await self._forget_inside(parts)

    async def members(self, parts: EndpointParts) -> tuple[MemberView, ...] | None:
        """See ports.Endpoint."""
        pool = await parts.known(POOL)
        return await self._cloud.members(parts.project_id, pool) if pool is not None else None

    async def set_members(self, parts: EndpointParts, members: Sequence[Member]) -> None:
        """See ports.Endpoint. One batch, so that a controller's way in and another's way out are one change."""
        await self.settled(parts)
        pool = await parts.known(POOL)
        assert pool is not None, "members are set only behind an endpoint whose members were seen"
        try:
            with crash.effect("provisioner.set_members"):
                await self._cloud.set_members(parts.project_id, pool, members)
        except Conflict as busy:
            raise reasons.waiting_for_balancer(parts.cluster_name, "PENDING_UPDATE") from busy

    async def settled(self, parts: EndpointParts) -> None:
        """See ports.Endpoint."""
        balancer = await parts.known(BALANCER)
        found = await self._find(parts, Kind.LOAD_BALANCER, balancer) if balancer is not None else None
        _require_active(parts, found)

    async def _balancer(self, parts: EndpointParts, order: Ordered, *, established: bool) -> str:
        before = await parts.known(BALANCER)
        balancer = await parts.ensure(Kind.LOAD_BALANCER, BALANCER, order)
        if balancer != before:
            await self._forget_inside(parts)  # of an earlier one, that was taken away
        found = await self._find(parts, Kind.LOAD_BALANCER, balancer)
        if found is None:
            log.warning("The load balancer of a cluster is lost", cluster=parts.cluster_name, balancer_id=balancer)
            await parts.lost(Kind.LOAD_BALANCER, BALANCER)
            raise reasons.waiting_for_balancer(parts.cluster_name, "being made again")
        if found.status == ERROR and not established:
            log.warning("A new load balancer came up broken", cluster=parts.cluster_name, balancer_id=balancer)
            await self.take_away(parts)
            raise reasons.waiting_for_balancer(parts.cluster_name, "being made again")
        _require_active(parts, found)
        return balancer

    async def _inside(self, parts: EndpointParts, kind: Kind, key: str, order: Ordered, established: bool) -> str:
        """One part within the load balancer; where somebody may have deleted it, it is looked for first."""
        before = await parts.known(key)
        if before is not None and established and await self._find(parts, kind, before) is None:
            log.warning("A part of a load balancer is lost", cluster=parts.cluster_name, part=key, cloud_id=before)
            await parts.lost(kind, key)
            # the next turn makes it: what it is made of depends on what is still there
            raise reasons.waiting_for_balancer(parts.cluster_name, "being made whole again")
        try:
            made = await parts.ensure(kind, key, order)
        except Conflict as busy:
            raise reasons.waiting_for_balancer(parts.cluster_name, "PENDING_UPDATE") from busy
        if made != before:
            await self.settled(parts)
        return made

    async def _forget_inside(self, parts: EndpointParts) -> None:
        for kind, key in _INSIDE:
            await parts.lost(kind, key)

    async def _find(self, parts: EndpointParts, kind: Kind, cloud_id: str) -> Found | None:
        return await self._cloud.get(parts.project_id, kind, cloud_id)


def _require_active(parts: EndpointParts, found: Found | None) -> None:
    status = found.status if found is not None else ""
    if status == ERROR:
        raise reasons.balancer_broken(parts.cluster_name)
    if status != ACTIVE:
        raise reasons.waiting_for_balancer(parts.cluster_name, status)
