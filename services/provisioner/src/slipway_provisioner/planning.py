"""Gives each node its plan when all that the plan names is known, and its server the user data to ask for it."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import regions
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.releases import Release, Releases
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeRow, Wanted
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Mover, Reason, Role
from slipway_provisioner.context import Context, cluster_record
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.plans.model import Endpoint, Member, PlanInputs, PlanNode
from slipway_provisioner.domain.plans.render import decide_plan
from slipway_provisioner.observing import NodeLook
from slipway_provisioner.onboarding import Onboarding
from slipway_provisioner.store import ClusterRecord, NodeRecord, nodes_of
from slipway_provisioner.store_agents import agent_token
from slipway_provisioner.store_keys import ensure_cluster_keys
from slipway_provisioner.store_plans import PlanRow, store_plan

log = structlog.get_logger()

PLAN_WAIT = timedelta(seconds=10)
"""Whoever makes known what a plan waits for marks the node dirty; this is for the case that it was lost."""

BUILD_ALLOWANCE = timedelta(hours=1)
"""Added to a token's life for the time that the cloud takes to build the server."""


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
                before = await session.get(PlanRow, look.node.node_id)
                known = before.revision if before is not None else 0
                node = look.node
                now = self._context.now()
                revision = await store_plan(session, self._master, node.cluster_id, node.node_id, decided, now)
                return revision != known
        if look.phase is NodePhase.CONFIGURING:
            raise RetryLater(PLAN_WAIT, decided.code, decided.message, whose_move=decided.whose_move)
        return False

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
        members = freeze_membership(cluster, spec, await nodes_of(session, node.cluster_id))
        keys = await ensure_cluster_keys(session, self._master, node.cluster_id, self._context.now())
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
        )


def plan_endpoint(cluster: ClusterRecord, region: regions.Endpoint) -> Endpoint | None:
    """What plans say of the endpoint, once all of its addresses are known that its certificate names."""
    if cluster.endpoint_address is None or cluster.outer_address is None:
        return None
    return Endpoint(cluster.endpoint_address, cluster.endpoint_port, cluster.public_address, region.seen_down_after)


def freeze_membership(cluster: ClusterRecord, spec: ClusterSpec, nodes: Sequence[NodeRecord]) -> tuple[Member, ...]:
    """The cluster's etcd members; frozen once as many as the spec wants are named and have addresses.

    Until then the membership is incomplete and has a member without an address, so no plan is made from it.
    """
    etcd = [node for node in nodes if node.role == Role.ETCD.value]
    if cluster.etcd_members is not None:
        frozen = cluster.etcd_members
        return tuple(_member(node) for node in etcd if node.node_id in frozen)
    present = [node for node in etcd if NodeRow.model_validate(node.row).wanted is Wanted.PRESENT]
    wanted = sum(pool.count for pool in spec.pools_of(Role.ETCD))
    if len(present) < wanted:
        return ()
    if all(node.addresses for node in present):
        cluster.etcd_members = [node.node_id for node in present]
    return tuple(_member(node) for node in present)


def _member(node: NodeRecord) -> Member:
    return Member(node.name, node.addresses[0] if node.addresses else None)
