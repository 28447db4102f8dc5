"""How a node leaves: its pods, its place behind the endpoint, its server, its port; each verified before the next."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from slipway_chassis import crash
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.access import Accesses
from slipway_provisioner.context import Context, node_record
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.model import Kind
from slipway_provisioner.observing import NodeLook
from slipway_provisioner.store import NodeRecord, nodes_of

log = structlog.get_logger()

LEAVES_AFTER: dict[Role, tuple[Role, ...]] = {
    Role.WORKER: (),
    Role.CONTROLLER: (Role.WORKER,),
    Role.ETCD: (Role.WORKER, Role.CONTROLLER),
}
"""When a whole cluster goes: which roles go before."""


class NodeRemoval:
    """The effects of the phases draining, replacing and removing."""

    def __init__(self, context: Context, accesses: Accesses) -> None:
        self._context = context
        self._accesses = accesses

    async def can_drain(self, look: NodeLook) -> bool:
        """Whether the API answers and the node is Ready; a dead node is not drained."""
        if look.phase is NodePhase.DRAINING:
            return True
        try:
            access = await self._accesses.to(look.node.cluster_id)
            nodes = await self._context.kubernetes.nodes(access)
        except (RetryLater, GiveUp) as refusal:
            log.info("Cannot drain", node_id=look.node.node_id, reason=refusal.reason.message)
            return False
        return any(each.name == look.node.name and each.ready for each in nodes)

    async def drain(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """Keep new pods away and ask the others to go, PodDisruptionBudgets honoured."""
        node = look.node
        access = await self._accesses.to(node.cluster_id)
        if not node.cordoned:
            with crash.effect("provisioner.cordon"):
                await self._context.kubernetes.cordon(access, node.name, on=True)
            await self._set(lease, node.node_id, cordoned=True)
        with crash.effect("provisioner.evict"):
            eviction = await self._context.kubernetes.evict(access, node.name)
        if eviction.remaining:
            raise reasons.waiting_for_drain(node.name, eviction.remaining, eviction.refused)
        await self._set(lease, node.node_id, drain_done=True)
        return None

    async def uncordon(self, lease: Lease, look: NodeLook) -> None:
        """The drain was withdrawn."""
        access = await self._accesses.to(look.node.cluster_id)
        with crash.effect("provisioner.cordon"):
            await self._context.kubernetes.cordon(access, look.node.name, on=False)
        await self._set(lease, look.node.node_id, cordoned=False)

    async def remove(self, lease: Lease, look: NodeLook) -> timedelta | None:
        """Take the server away, and with the whole node its port; a new incarnation keeps the port."""
        node = look.node
        if look.cluster_deleted:
            await self._wait_for_turn(look)
        else:
            await self._out_of_balancer(lease, look)
        for entry in look.leaving():
            seen_gone = entry.kind == Kind.SERVER.value and look.server_state is ServerState.GONE
            if entry.kind == Kind.SERVER.value:
                await self._expect_change(lease, look)
            await self._context.ledger.ensure_gone(lease, entry, seen_gone=seen_gone)
        if look.phase is NodePhase.REMOVING and not look.cluster_deleted:
            await self._forget_in_kubernetes(look)
        log.info("Nothing is left of the node's machine", node_id=node.node_id, name=node.name)
        return None

    async def _out_of_balancer(self, lease: Lease, look: NodeLook) -> None:
        """The cluster's reconciler alone changes members; it leaves out whoever is on its way out."""
        if look.cluster is None or look.node.node_id not in look.cluster.balancer_members:
            return
        async with self._context.holding(lease) as session:
            await self._context.look_at_cluster(session, look.node.cluster_id)
        raise reasons.waiting_for_balancer_removal(look.node.name)

    async def _wait_for_turn(self, look: NodeLook) -> None:
        async with self._context.database.reading() as session:
            others = await nodes_of(session, look.node.cluster_id)
        if _someone_goes_first(Role(look.node.role), others):
            raise reasons.waiting_for_others()

    async def _expect_change(self, lease: Lease, look: NodeLook) -> None:
        async with self._context.holding(lease) as session:
            await self._context.look_at_servers(session, look.node.project_id)

    async def _forget_in_kubernetes(self, look: NodeLook) -> None:
        """Free its volumes and pods; when no API answers, the cluster's upkeep does it later."""
        node = look.node
        try:
            access = await self._accesses.to(node.cluster_id)
            with crash.effect("provisioner.delete_node_object"):
                await self._context.kubernetes.delete_node(access, node.name, None)
        except (RetryLater, GiveUp) as refusal:
            log.info("Node object stays for now", node_id=node.node_id, reason=refusal.reason.message)

    async def _set(self, lease: Lease, node_id: str, **changes: object) -> None:
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node_id)
            assert stored is not None, "a node that has a lease has a record"
            for name, value in changes.items():
                setattr(stored, name, value)


def _someone_goes_first(role: Role, nodes: Sequence[NodeRecord]) -> bool:
    before = {each.value for each in LEAVES_AFTER[role]}
    return any(node.role in before and node.phase != NodePhase.REMOVED.value for node in nodes)
