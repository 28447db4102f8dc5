"""Gives each node its plan when all that the plan names is known, and its server the user data to ask for it."""

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import regions
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.releases import Release, Releases
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Mover, Reason, Role
from slipway_provisioner.context import Context, cluster_record
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.plans.etcd import is_help
from slipway_provisioner.domain.plans.model import Endpoint, PlanInputs, PlanNode, RenderedPlan
from slipway_provisioner.domain.plans.packages import takes_packages
from slipway_provisioner.domain.plans.render import decide_plan
from slipway_provisioner.etcd_membership import members_of, seat_and_change
from slipway_provisioner.observing import NodeLook
from slipway_provisioner.onboarding import Onboarding
from slipway_provisioner.store import ClusterRecord, NodeRecord, nodes_of
from slipway_provisioner.store_agents import AgentRow, agent_token
from slipway_provisioner.store_keys import ensure_cluster_keys
from slipway_provisioner.store_plans import PlanRow, profiles_of, read_plan, store_plan

log = structlog.get_logger()

PLAN_WAIT = timedelta(seconds=10)
"""Whoever makes known what a plan waits for marks the node dirty; this is for the case that it was lost."""

BUILD_ALLOWANCE = timedelta(hours=1)
"""Added to a token's life for the time that the cloud takes to build the server."""

_IN_TURN = (Role.CONTROLLER.value, Role.ETCD.value)
"""Roles of which a cluster needs some at any time; a new plan may start their programs anew."""

_AT_WORK = (NodePhase.CONFIGURING.value, NodePhase.REBOOTING.value)
_MAY_BE_BEHIND = (NodePhase.PROVISIONED.value, NodePhase.FAILED.value)


class Planner:
    """Renders plans and user data of one region."""

    def __init__(self, context: Context, releases: Releases, onboarding: Onboarding, master: MasterKey) -> None:
        self._context = context
        self._releases = releases
        self._onboarding = onboarding
        self._master = master

    async def user_data(self, session: AsyncSession, look: NodeLook) -> str:
        """What the server of this incarnation is born with; the same each time."""
        node = look.node
        pool = look.spec.pool(node.pool_id) if look.spec is not None else None
        patience = pool.health.never_joined_after if pool is not None else timedelta(0)
        until = self._context.now() + patience + BUILD_ALLOWANCE
        return await self._onboarding.user_data(session, node.cluster_id, node.node_id, node.incarnation, until)

    def token_of(self, node: NodeRecord) -> str:
        """What must never be shown of the node's present server."""
        return agent_token(self._master, node.node_id, node.incarnation)

    async def ensure_plan(self, lease: Lease, look: NodeLook) -> bool:
        """The node has the plan that follows from what is known now; True when that is a new revision.

        Raises RetryLater with what the plan waits for, once there is an agent to wait for it.
        """
        assert look.spec is not None, "a node is brought up only under a known spec"
        release = self._release(look.spec)
        async with self._context.holding(lease) as session:
            inputs = await self._inputs(session, look, look.spec, release)
            if inputs is None:
                return False
            decided = decide_plan(inputs)
            if not isinstance(decided, Reason):
                return await self._store(session, look.node, decided)
        if look.phase is NodePhase.CONFIGURING:
            raise RetryLater(PLAN_WAIT, decided.code, decided.message, whose_move=decided.whose_move)
        return False

    async def _store(self, session: AsyncSession, node: NodeRecord, plan: RenderedPlan) -> bool:
        """Keep the plan; controllers and members of etcd that are up take a new one in turn.

        What a member does for another one is not held back: that may be what the one before it waits for. The
        cluster's record is locked.
        """
        before = await session.get(PlanRow, node.node_id)
        if before is not None and before.digest == plan.digest:
            return False
        other = await _who_goes_first(session, node) if before is not None else None
        if before is not None and other is not None:
            plan = await self._only_help(session, before, plan)
            if before.digest == plan.digest:
                raise reasons.waiting_for_turn(Role(node.role), other.name)
        await store_plan(session, self._master, node.cluster_id, node.node_id, plan, self._context.now())
        return True

    async def _only_help(self, session: AsyncSession, before: PlanRow, plan: RenderedPlan) -> RenderedPlan:
        """What the node has to do for itself as it was before, and what it does for others as it is now."""
        known = await read_plan(session, self._master, before.node_id)
        assert known is not None, "the caller has read its row"
        own = tuple(step for step in known.steps if not is_help(step.name))
        return RenderedPlan((*own, *(step for step in plan.steps if is_help(step.name))), profiles_of(before))

    def _release(self, spec: ClusterSpec) -> Release:
        try:
            return self._releases.named(spec.release)
        except LookupError as error:
            raise GiveUp("UnknownRelease", str(error.args[0]), whose_move=Mover.OPERATOR) from error

    async def _inputs(
        self, session: AsyncSession, look: NodeLook, spec: ClusterSpec, release: Release
    ) -> PlanInputs | None:
        node, region = look.node, self._context.region
        pool = spec.pool(node.pool_id)
        cluster = await cluster_record(session, node.cluster_id)
        if pool is None or cluster is None:
            return None
        members = await members_of(session, cluster, spec, await nodes_of(session, node.cluster_id))
        seat, change = await seat_and_change(session, node) if node.role == Role.ETCD.value else (None, None)
        keys = await ensure_cluster_keys(session, self._master, node.cluster_id, self._context.now())
        agent = await session.get(AgentRow, node.node_id)
        return PlanInputs(
            node=PlanNode(
                node_id=node.node_id,
                name=node.name,
                role=Role(node.role),
                address=node.addresses[0] if node.addresses else None,
                server_id=node.server_id,
                zone=node.zone or look.row.zone,
                reregister_at=node.reregister_at,
            ),
            spec=spec,
            pool=pool,
            made_of=look.row.spec,
            region=region.name,
            machine=region.machine,
            mirror=region.mirror,
            registry_mirrors=region.registry_mirrors,
            release=release,
            keys=keys.for_plan(controller=node.role == Role.CONTROLLER.value),
            etcd=members,
            endpoint=plan_endpoint(cluster, region.endpoint),
            seat=seat,
            change=change,
            kubelets=tuple(filter(None, (cluster.lowest_release, cluster.highest_release))),
            takes_packages=takes_packages(agent.agent_version if agent is not None else None),
        )


def plan_endpoint(cluster: ClusterRecord, region: regions.Endpoint) -> Endpoint | None:
    """What plans say of the endpoint, once all of its addresses are known that its certificate names."""
    if cluster.endpoint_address is None or cluster.outer_address is None:
        return None
    return Endpoint(cluster.endpoint_address, cluster.endpoint_port, cluster.public_address, region.seen_down_after)


async def _who_goes_first(session: AsyncSession, node: NodeRecord) -> NodeRecord | None:
    """Another controller, or another member of etcd, that is up and has not yet done all of its plan, or reboots.

    One whose plan has failed keeps the others from the same failure.
    """
    if node.joined_at is None or node.role not in _IN_TURN:
        return None
    others = [
        other
        for other in await nodes_of(session, node.cluster_id)
        if other.role == node.role and other.node_id != node.node_id and other.joined_at is not None
    ]
    for other in others:
        plan = await session.get(PlanRow, other.node_id)
        behind = plan is not None and plan.revision > plan.applied_revision
        if other.phase in _AT_WORK or (behind and other.phase in _MAY_BE_BEHIND):
            return other
    return None
