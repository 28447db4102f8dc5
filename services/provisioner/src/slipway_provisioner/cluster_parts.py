"""The shared parts of a cluster: keys, security and server groups, the endpoint on a port of its own, its members."""

from collections.abc import Sequence

import structlog

from slipway_chassis import crash, work
from slipway_chassis.regions import Reach
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_contracts.values import Role
from slipway_provisioner.cluster_ledger import ClusterLedger
from slipway_provisioner.cluster_store import Clusters
from slipway_provisioner.context import LEDGER, Context
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.endpoint import Rules, decide_members, same_members
from slipway_provisioner.domain.model import (
    FloatingIpOrder,
    Found,
    Kind,
    Mark,
    Member,
    MemberView,
    PortOrder,
    SecurityGroupOrder,
    ServerGroupOrder,
)
from slipway_provisioner.domain.plans.model import API_SERVER_PORT
from slipway_provisioner.domain.security_groups import rules_of
from slipway_provisioner.ports import Endpoint
from slipway_provisioner.store import ClusterRecord, nodes_of
from slipway_provisioner.store_keys import ensure_cluster_keys

log = structlog.get_logger()

SPREAD = (Role.ETCD, Role.CONTROLLER)
"""Roles whose servers go to different hosts where there are enough."""

PORT, FLOATING_IP = "port/endpoint", "floating_ip"
"""Keys in the ledger."""


class ClusterParts:
    """Makes what all nodes of a cluster share, and makes it again when somebody deletes it."""

    def __init__(self, context: Context, clusters: Clusters, master: MasterKey, endpoint: Endpoint) -> None:
        self._context = context
        self._clusters = clusters
        self._master = master
        self._endpoint = endpoint

    async def ensure(self, lease: Lease, spec: ClusterSpec, cluster: ClusterRecord) -> None:
        """All parts exist and the right controllers are behind the endpoint; raises what that still waits for."""
        due = "load_balancer" not in cluster.done or self._is_check_due(cluster)
        if due:
            await self._compare_ledger(lease, cluster)
            await self._make_whole(lease, spec, cluster)
        parts = ClusterLedger(self._context, lease, cluster)
        if not await self._members(lease, cluster, parts, look=due):
            await self._clusters.change(lease, cluster, parts_checked_at=None)
            raise reasons.waiting_for_balancer(cluster.name, "not whole")
        if due:
            await self._clusters.change(lease, cluster, parts_checked_at=self._context.now())

    def _is_check_due(self, cluster: ClusterRecord) -> bool:
        checked_at = cluster.parts_checked_at
        return checked_at is None or self._context.now() >= checked_at + self._context.settings.parts_check_every

    async def _compare_ledger(self, lease: Lease, cluster: ClusterRecord) -> None:
        """What the ledger may have forgotten in this project is looked for now and then."""
        async with self._context.holding(lease) as session:
            await work.ensure_scheduled(session, LEDGER, cluster.project_id, self._context.now())

    async def _make_whole(self, lease: Lease, spec: ClusterSpec, cluster: ClusterRecord) -> None:
        await self._clusters.enter(lease, cluster, InfrastructurePhase.BUILDING)
        await self._keys(lease, cluster)
        parts = ClusterLedger(self._context, lease, cluster)
        await self._groups(lease, cluster)
        port_id = await self._port(lease, spec, cluster, parts)
        await self._floating_ip(lease, cluster, parts, port_id)
        established = "load_balancer" in cluster.done
        await self._endpoint.ensure(parts, port_id, established=established)
        await self._clusters.step_done(lease, cluster, "load_balancer")

    async def _keys(self, lease: Lease, cluster: ClusterRecord) -> None:
        if "keys" in cluster.done:
            return
        async with self._context.holding(lease) as session:
            await ensure_cluster_keys(session, self._master, cluster.cluster_id, self._context.now())
        await self._clusters.step_done(lease, cluster, "keys")

    async def _groups(self, lease: Lease, cluster: ClusterRecord) -> None:
        """Security groups with their rules, which are asked for again each time; and server groups."""
        if "server_groups" in cluster.done and "load_balancer" not in cluster.done:
            return
        groups: dict[Role, str] = {}
        for role in Role:
            parts = ClusterLedger(self._context, lease, cluster, role.value)
            groups[role] = await parts.ensure(Kind.SECURITY_GROUP, f"security_group/{role}", SecurityGroupOrder)
        for role, group_id in groups.items():
            with crash.effect("provisioner.ensure_rules"):
                await self._context.cloud.ensure_rules(cluster.project_id, group_id, rules_of(role), groups)
        await self._clusters.step_done(lease, cluster, "security_groups")
        if "server_groups" in cluster.done:
            return
        for role in SPREAD:
            parts = ClusterLedger(self._context, lease, cluster, role.value)
            await parts.ensure(Kind.SERVER_GROUP, f"server_group/{role}", ServerGroupOrder)
        await self._clusters.step_done(lease, cluster, "server_groups")
        await self._look_at_nodes(lease, cluster)

    async def _port(self, lease: Lease, spec: ClusterSpec, cluster: ClusterRecord, parts: ClusterLedger) -> str:
        """The endpoint's port; one that was lost is made again with its address, which all nodes have written down."""

        def order(name: str, mark: Mark) -> PortOrder:
            return PortOrder(name, mark, spec.network_id, address=cluster.endpoint_address)

        port_id = await parts.ensure(Kind.PORT, PORT, order)
        if "endpoint_port" in cluster.done and "load_balancer" not in cluster.done:
            return port_id
        port = await self._find(cluster, Kind.PORT, port_id)
        if port is None and "endpoint_port" in cluster.done:
            log.warning("The port of an endpoint is lost", cluster_id=cluster.cluster_id, port_id=port_id)
            await self._endpoint.take_away(parts)
            await parts.lost(Kind.PORT, PORT)
            port_id = await parts.ensure(Kind.PORT, PORT, order)
            port = await self._find(cluster, Kind.PORT, port_id)
        if port is None or port.address is None:
            raise reasons.waiting_for_address("the endpoint")
        if "endpoint_port" not in cluster.done:
            await self._clusters.step_done(lease, cluster, "endpoint_port", endpoint_address=port.address)
            await self._look_at_nodes(lease, cluster)
        return port_id

    async def _floating_ip(self, lease: Lease, cluster: ClusterRecord, parts: ClusterLedger, port_id: str) -> None:
        """Where the region's services do not share the users' networks: the address that leads to the endpoint."""
        if cluster.reach != Reach.FLOATING_IP.value:
            return
        floating_ip_id = await parts.known(FLOATING_IP)
        if floating_ip_id is None:
            network = self._context.region.endpoint.floating_network
            if network is None:
                raise reasons.no_floating_network(self._context.region.name)
            network_id = await self._context.cloud.network_id(cluster.project_id, network)

            def order(name: str, mark: Mark) -> FloatingIpOrder:
                return FloatingIpOrder(name, mark, network_id, port_id)

            floating_ip_id = await parts.ensure(Kind.FLOATING_IP, FLOATING_IP, order)
        if cluster.public_address is not None and "load_balancer" not in cluster.done:
            return
        found = await self._find(cluster, Kind.FLOATING_IP, floating_ip_id)
        if found is None:
            log.warning("The floating IP of an endpoint is lost", cluster_id=cluster.cluster_id)
            await parts.lost(Kind.FLOATING_IP, FLOATING_IP)
            raise reasons.waiting_for_address("the endpoint, outside the network,")
        if found.device_id != port_id:
            with crash.effect("provisioner.lead_to"):
                await self._context.cloud.lead_to(cluster.project_id, floating_ip_id, port_id)
        if found.address != cluster.public_address:
            await self._clusters.change(lease, cluster, public_address=found.address)
            await self._look_at_nodes(lease, cluster)

    async def _find(self, cluster: ClusterRecord, kind: Kind, cloud_id: str) -> Found | None:
        return await self._context.cloud.get(cluster.project_id, kind, cloud_id)

    async def _members(self, lease: Lease, cluster: ClusterRecord, parts: ClusterLedger, *, look: bool) -> bool:
        """Who should be behind the endpoint is, in one change at a time; False when a part of it is missing."""
        wanted = await self._wanted(cluster, ())
        if look or _record(wanted) != cluster.balancer_members:
            seen = await self._endpoint.members(parts)
            if seen is None:
                return False
            wanted = await self._wanted(cluster, seen)
            if not same_members(seen, wanted):
                log.info("Changing who is behind the endpoint", cluster_id=cluster.cluster_id, members=len(wanted))
                await self._endpoint.set_members(parts, wanted)
            await self._endpoint.settled(parts)
            await self._remember(lease, cluster, _record(wanted))
        if wanted:
            await self._clusters.step_done(lease, cluster, "members")
        return True

    async def _wanted(self, cluster: ClusterRecord, seen: Sequence[MemberView]) -> tuple[Member, ...]:
        async with self._context.database.reading() as session:
            nodes = await nodes_of(session, cluster.cluster_id)
        rules = Rules(
            port=API_SERVER_PORT,
            established=cluster.phase == InfrastructurePhase.AVAILABLE.value,
            drain_limit=self._context.settings.endpoint_drain_limit,
        )
        return decide_members(nodes, seen, rules, self._context.now())

    async def _remember(self, lease: Lease, cluster: ClusterRecord, members: dict[str, list[object]]) -> None:
        left = set(cluster.balancer_members) - set(members)
        if members == cluster.balancer_members:
            return
        await self._clusters.change(lease, cluster, balancer_members=members)
        async with self._context.holding(lease) as session:
            for node_id in left:
                await self._context.look_at_node(session, node_id)

    async def _look_at_nodes(self, lease: Lease, cluster: ClusterRecord) -> None:
        async with self._context.holding(lease) as session:
            await self._context.look_at_nodes(session, cluster.cluster_id)


def _record(members: Sequence[Member]) -> dict[str, list[object]]:
    return {member.node_id: [member.address, member.weight] for member in members}
