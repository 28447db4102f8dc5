"""What is done for one node in each phase. Every step is idempotent, and harmless when it comes an hour late."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import crash
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.context import Context, node_record
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.model import Kind, Mark, Order, PortOrder, ServerOrder
from slipway_provisioner.etcd_membership import EtcdMemberships
from slipway_provisioner.ledger import Purpose
from slipway_provisioner.node_evidence import NodeEvidence
from slipway_provisioner.node_removal import NodeRemoval
from slipway_provisioner.observing import NodeLook
from slipway_provisioner.planning import Planner
from slipway_provisioner.store import EntryState, entry_for, ports_lost, server_key
from slipway_provisioner.store_agents import end_token

log = structlog.get_logger()

AGAIN: timedelta | None = None
"""Something changed: look and decide again at once."""


class NodeEffects:
    """The effects on one node's port, server, plan and pods."""

    def __init__(self, context: Context, planner: Planner, removal: NodeRemoval, memberships: EtcdMemberships) -> None:
        self._context = context
        self._memberships = memberships
        self._planner = planner
        self._removal = removal
        self._evidence = NodeEvidence(context, planner)
        self._by_phase: dict[NodePhase, Callable[[Lease, NodeLook], Awaitable[timedelta | None]]] = {
            NodePhase.PENDING: self._make_port,
            NodePhase.CREATING: self._make_server,
            NodePhase.BOOTING: self._wait_for_agent,
            NodePhase.CONFIGURING: self._configure,
            NodePhase.PROVISIONED: self._keep,
            NodePhase.REBOOTING: self._reboot,
            NodePhase.FAILED: self._stay_failed,
            NodePhase.DRAINING: removal.drain,
            NodePhase.REPLACING: self._leave,
            NodePhase.REMOVING: self._leave,
        }

    async def act(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """Do what the phase asks for; returns when to look again, AGAIN for at once."""
        return await self._by_phase[look.phase](lease, look)

    async def can_drain(self, look: NodeLook) -> bool:
        """See NodeRemoval.can_drain."""
        return await self._removal.can_drain(look)

    async def _make_port(self, lease: Lease, look: NodeLook) -> timedelta | None:
        node, row = look.node, look.row
        async with self._context.database.reading() as session:
            number = 1 + await ports_lost(session, node.node_id)
        purpose = self._purpose(look, Kind.PORT, f"port/{node.node_id}/{number}", row.name)

        async def ordering(session: AsyncSession, name: str, mark: Mark) -> Order:
            group = await self._cloud_id(session, node.cluster_id, f"security_group/{node.role}")
            return PortOrder(name, mark, row.spec.network_id, (group,))

        await self._groups_exist(look)
        port_id = await self._context.ledger.ensure(lease, purpose, ordering)
        port = await self._context.cloud.get(node.project_id, Kind.PORT, port_id)
        if port is None:
            log.warning("The port of a node is lost", node_id=node.node_id, port_id=port_id)
            await self._context.ledger.mark_lost(lease, purpose)
            return AGAIN
        if port.address is None:
            raise reasons.waiting_for_address(node.name)
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node.node_id)
            assert stored is not None, "a node that has a lease has a record"
            stored.port_id, stored.addresses = port_id, [port.address]
            if node.role in (Role.ETCD.value, Role.CONTROLLER.value):
                await self._context.look_at_nodes(session, node.cluster_id)
        return AGAIN

    async def _make_server(self, lease: Lease, look: NodeLook) -> timedelta | None:
        node, row = look.node, look.row
        purpose = self._purpose(look, Kind.SERVER, server_key(node.node_id, node.incarnation), node.name)

        async def ordering(session: AsyncSession, name: str, mark: Mark) -> Order:
            assert node.port_id is not None, "a node is in CREATING only with its port"
            stable = node.role in (Role.ETCD.value, Role.CONTROLLER.value)
            return ServerOrder(
                name=name,
                mark=mark,
                image_id=row.spec.image_id,
                flavor_id=row.spec.flavor_id,
                port_id=node.port_id,
                zone=row.zone,
                server_group=await self._cloud_id(session, node.cluster_id, f"server_group/{node.role}")
                if stable
                else None,
                user_data=await self._planner.user_data(session, look),
                root_volume=row.spec.root_volume,
                labels=self._context.settings.server_metadata,
            )

        await self._groups_exist(look)
        server_id = await self._context.ledger.ensure(lease, purpose, ordering)
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node.node_id)
            assert stored is not None, "a node that has a lease has a record"
            stored.server_id, stored.server_state = server_id, ServerState.BUILDING.value
            # a server that was adopted was perhaps made before a backup was restored, which does not know its token
            await self._planner.user_data(session, look)
            await self._context.look_at_servers(session, node.project_id)
        return AGAIN

    async def _wait_for_agent(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """The plan is made when the agent claims the node: only then the etcd membership is frozen."""
        await self._start_once(lease, look)
        await self._end_token(lease, look)
        return await self._until_deadline(lease, look)

    async def _configure(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """Its server is started first: its plan may wait for nodes that wait for it."""
        delay = await self._until_deadline(lease, look)
        await self._start_once(lease, look)
        return AGAIN if await self._ensure_plan(lease, look) else delay

    async def _until_deadline(self, lease: Lease, look: NodeLook) -> timedelta:
        """Looks again when the node should have joined; if it should by now, keeps what tells why it has not."""
        if self._evidence.is_due(look):
            await self._evidence.keep(lease, look)
        idle, deadline = self._context.jittered(self._context.settings.node_check_every), look.deadline
        left = deadline - self._context.now() if deadline is not None else None
        return min(idle, left) if left is not None and left > timedelta(0) else idle

    async def _end_token(self, lease: Lease, look: NodeLook) -> None:
        """The server runs: from now on it is known when its token ends."""
        if look.deadline is not None and not look.plan.claimed:
            async with self._context.holding(lease) as session:
                await end_token(session, look.node.node_id, look.node.incarnation, look.deadline)

    async def _stay_failed(self, lease: Lease, look: NodeLook) -> timedelta | None:
        if self._evidence.is_due(look):
            await self._evidence.keep(lease, look)
        return self._context.jittered(self._context.settings.node_check_every)

    async def _leave(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """What tells why it did not come up is taken before its server goes."""
        if not look.cluster_deleted and self._evidence.is_due(look):
            await self._evidence.keep(lease, look)
        return await self._removal.remove(lease, look)

    async def _ensure_plan(self, lease: Lease, look: NodeLook) -> bool:
        if look.node.role == Role.ETCD.value:
            await self._memberships.advance(lease, look.node.cluster_id)
        return await self._planner.ensure_plan(lease, look)

    async def _keep(self, lease: Lease, look: NodeLook) -> timedelta | None:
        await self._start_once(lease, look)
        if await self._ensure_plan(lease, look):
            return AGAIN
        if look.node.cordoned:
            await self._removal.uncordon(lease, look)
        return self._context.jittered(self._context.settings.node_check_every)

    async def _start_once(self, lease: Lease, look: NodeLook) -> None:
        """A server that is SHUTOFF is started once an incarnation; a person's pause is respected."""
        node = look.node
        if look.server_state is not ServerState.STOPPED or node.started_at is not None or look.paused:
            return
        assert node.server_id is not None, "a server with a state has an id"
        log.info("Starting a stopped server", node_id=node.node_id, server_id=node.server_id)
        with crash.effect("provisioner.start_server"):
            await self._context.cloud.start_server(node.project_id, node.server_id)
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node.node_id)
            assert stored is not None, "a node that has a lease has a record"
            stored.started_at = self._context.now()
            await self._context.look_at_servers(session, node.project_id)

    async def _reboot(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """The intent is committed with the phase; killed right after the call, it is at worst rebooted once more."""
        node = look.node
        if node.rebooted_at is not None:
            return timedelta(seconds=2)
        assert node.server_id is not None, "only a node with a server is rebooted"
        log.info("Rebooting", node_id=node.node_id, server_id=node.server_id)
        with crash.effect("provisioner.reboot_server"):
            await self._context.cloud.reboot_server(node.project_id, node.server_id)
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node.node_id)
            assert stored is not None, "a node that has a lease has a record"
            stored.rebooted_at = self._context.now()
            await self._context.look_at_servers(session, node.project_id)
        return timedelta(seconds=2)

    async def _groups_exist(self, look: NodeLook) -> None:
        if look.cluster is None or not {"security_groups", "server_groups"} <= set(look.cluster.done):
            raise reasons.waiting_for_groups()

    async def _cloud_id(self, session: AsyncSession, cluster_id: str, key: str) -> str:
        entry = await entry_for(session, cluster_id, key)
        if entry is None or entry.cloud_id is None or entry.state != EntryState.CREATED.value:
            raise reasons.waiting_for_groups()
        return entry.cloud_id

    def _purpose(self, look: NodeLook, kind: Kind, key: str, label: str) -> Purpose:
        node = look.node
        assert look.spec is not None, "a node is made only under a known spec"
        return Purpose(
            key=key,
            kind=kind,
            cluster_id=node.cluster_id,
            cluster_name=look.spec.name,
            project_id=node.project_id,
            label=label,
            node_id=node.node_id,
            incarnation=node.incarnation,
        )
