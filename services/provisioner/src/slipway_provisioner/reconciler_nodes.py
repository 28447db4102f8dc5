"""Brings one node to where its row wants it: observe, let the table of phases decide, commit, then act."""

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Mover, Reason, Role
from slipway_provisioner.announcing import announce_node
from slipway_provisioner.context import NODE, Context, cluster_record, node_record
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.phases import Transition, is_stale, next_phase
from slipway_provisioner.etcd_membership import begin_incarnation, note_formed
from slipway_provisioner.node_effects import NodeEffects
from slipway_provisioner.observing import NodeLook, observe_node
from slipway_provisioner.plan_progress import forget_node, plan_progress
from slipway_provisioner.store import NodeRecord
from slipway_provisioner.store_agents import end_token

log = structlog.get_logger()

LONGEST_WAY = 12
"""Transitions and effects in one turn; a node that wants more of them waits for its next turn."""

_TELLS_CLUSTER = frozenset({NodePhase.PROVISIONED, NodePhase.REPLACING, NodePhase.REMOVED, NodePhase.PENDING})
"""Entering these changes what is behind the endpoint, who has labels, or how far a deletion is."""


class NodeReconciler:
    """Kind `node`, key node id."""

    kind = NODE

    def __init__(self, context: Context, effects: NodeEffects) -> None:
        self._context = context
        self._effects = effects

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """Move and act until there is nothing more to do now."""
        for _ in range(LONGEST_WAY):
            look = await self._observe(lease)
            if look is None or look.phase is NodePhase.REMOVED:
                return None
            look.drainable = look.wants_drain() and await self._effects.can_drain(look)
            if await self._move(lease, look):
                continue
            delay = await self._effects.act(lease, look)
            if delay is not None:
                await self._clear(lease)
                return delay
        return timedelta(0)

    async def _observe(self, lease: Lease) -> NodeLook | None:
        async with self._context.database.reading() as session:
            return await observe_node(session, lease.key, self._context.now())

    async def _move(self, lease: Lease, look: NodeLook) -> bool:
        """Commit the next phase, or that the node's decision is stale; True when the phase changed."""
        facts = look.facts(self._context.now(), self._context.settings.drain_limit)
        transition = next_phase(look.phase, facts)
        stale = is_stale(look.phase, facts)
        if transition is None and stale == look.node.stale:
            return False
        async with self._context.holding(lease) as session:
            node = await node_record(session, lease.key)
            if node is None or node.phase != look.node.phase or node.row != look.node.row:
                return True
            node.stale = stale and transition is None
            if transition is not None:
                await self._enter(session, look, transition)
            await announce_node(session, self._context.announcer, node, look.plan)
        return transition is not None

    async def _enter(self, session: AsyncSession, look: NodeLook, transition: Transition) -> None:
        node = await node_record(session, look.node.node_id)
        assert node is not None, "the caller has read it in this transaction"
        target = transition.target
        log.info("Node moves", node_id=node.node_id, name=node.name, to=target.value, why=transition.why)
        if look.phase is NodePhase.REPLACING and target is NodePhase.PENDING:
            await begin_incarnation(self._context, session, node, look.row.incarnation)
            _start_incarnation(node, look.row.incarnation)
        node.phase, node.since, node.waiting = target.value, self._context.now(), None
        if target is NodePhase.FAILED:
            node.cause = node.cause or _cause_of(look).model_dump(mode="json")
        elif target is NodePhase.PROVISIONED:
            await self._is_up(session, node)
        elif target is NodePhase.DRAINING:
            node.drained_at = self._context.now()
        elif target is NodePhase.CONFIGURING and look.phase is NodePhase.BOOTING:
            node.cause = None
        elif target in (NodePhase.REPLACING, NodePhase.REMOVING):
            await end_token(session, node.node_id, node.incarnation, self._context.now())
        elif target is NodePhase.REBOOTING:
            node.reboots, node.rebooted_at = look.row.reboots, None
        elif target is NodePhase.REMOVED:
            node.server_id, node.port_id, node.addresses = None, None, []
            node.server_state = ServerState.NONE.value
            await forget_node(session, node.node_id)
        if target in _TELLS_CLUSTER or node.role == Role.CONTROLLER.value:
            await self._context.look_at_cluster(session, node.cluster_id)
        if look.cluster_deleted and target is NodePhase.REMOVED:
            await self._context.look_at_nodes(session, node.cluster_id)

    async def _is_up(self, session: AsyncSession, node: NodeRecord) -> None:
        node.joined_at = node.joined_at or self._context.now()
        node.cause, node.evidence = None, None
        node.drained_at, node.drain_done = None, False
        if node.role == Role.ETCD.value:
            note_formed(await cluster_record(session, node.cluster_id), self._context.now())

    async def _clear(self, lease: Lease) -> None:
        """Nothing refused it this time; say how it is."""
        async with self._context.holding(lease) as session:
            node = await node_record(session, lease.key)
            if node is not None:
                node.waiting = None
                await announce_node(
                    session,
                    self._context.announcer,
                    node,
                    await plan_progress(session, node.node_id, self._context.now()),
                )

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Show the reason at the node; a server that the cloud refuses for good makes it fail."""
        node = await node_record(session, key)
        if node is None:
            return
        reason = refusal.reason
        if isinstance(refusal, RetryLater) and reason.whose_move in (Mover.USER, Mover.OPERATOR):
            reason = reason.model_copy(update={"retry_at": self._context.now() + refusal.after})
        node.waiting = reason.model_dump(mode="json")
        if isinstance(refusal, GiveUp) and node.phase in (NodePhase.PENDING.value, NodePhase.CREATING.value):
            node.cause = refusal.reason.model_dump(mode="json")
            await self._context.look_at_node(session, key)
        await announce_node(
            session, self._context.announcer, node, await plan_progress(session, key, self._context.now())
        )


def _cause_of(look: NodeLook) -> Reason:
    """Why a node failed that has a server."""
    if look.server_state is ServerState.GONE:
        return reasons.reason("ServerGone", "Its server is gone from the cloud", Mover.SLIPWAY)
    if look.server_state is ServerState.ERROR:
        text = look.node.fault or "the cloud gives no cause"
        return reasons.reason("ServerBuildFailed", f"The cloud could not build its server: {text}", Mover.CLOUD)
    return look.plan.cause or reasons.reason("PlanFailed", "A step of its plan failed")


def _start_incarnation(node: NodeRecord, incarnation: int) -> None:
    """Forget all that belonged to the old server but why it did not come up; name, address and port stay."""
    node.incarnation, node.port_id = incarnation, None
    node.server_id, node.server_state, node.host, node.zone, node.fault = None, ServerState.NONE.value, None, None, None
    node.active_at, node.joined_at, node.started_at, node.rebooted_at = None, None, None, None
    node.reregister_at = None
    node.cause, node.stale = None, False
    node.drained_at, node.drain_done, node.cordoned = None, False, False
