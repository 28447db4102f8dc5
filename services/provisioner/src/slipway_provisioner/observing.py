"""What is known of one node when its reconciler looks at it: records, desired state, ledger, plan."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_chassis import facts
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import ClusterHold, Hold, NodeRow, Wanted
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.context import spec_of
from slipway_provisioner.domain.model import Kind
from slipway_provisioner.domain.phases import NodeFacts
from slipway_provisioner.domain.progress import PlanView
from slipway_provisioner.plan_progress import plan_view
from slipway_provisioner.store import ClusterRecord, LedgerEntry, NodeRecord, entries_of, server_key
from slipway_provisioner.store_agents import AgentRow
from slipway_provisioner.store_plans import PlanRow

REBOOT_TAKES = timedelta(seconds=10)
"""A server that is ACTIVE earlier than this after a reboot was asked for has perhaps not begun it."""


@dataclass
class NodeLook:
    """One look at one node."""

    node: NodeRecord
    cluster: ClusterRecord | None
    spec: ClusterSpec | None
    plan: PlanView
    entries: tuple[LedgerEntry, ...]
    """Of the node's server and port, not gone."""
    paused: bool
    drainable: bool = False
    """Its pods can leave first: asked of Kubernetes only when a removal is wanted."""

    @property
    def row(self) -> NodeRow:
        """The last accepted row."""
        return NodeRow.model_validate(self.node.row)

    @property
    def phase(self) -> NodePhase:
        """Where the node is."""
        return NodePhase(self.node.phase)

    @property
    def server_state(self) -> ServerState:
        """What the cloud said last."""
        return ServerState(self.node.server_state)

    @property
    def cluster_deleted(self) -> bool:
        """Whether the whole cluster goes."""
        return self.spec is not None and self.spec.deletion_requested_at is not None

    @property
    def deadline(self) -> datetime | None:
        """When the node should have joined; None while its server does not run, and once it has joined."""
        pool = self.spec.pool(self.node.pool_id) if self.spec is not None else None
        if pool is None or self.node.active_at is None or self.node.joined_at is not None:
            return None
        return self.node.active_at + pool.health.never_joined_after + timedelta(seconds=self.plan.waited_for_others)

    def is_overdue(self, now: datetime) -> bool:
        """Whether the node should have joined by now."""
        return self.deadline is not None and now >= self.deadline

    def servers(self) -> tuple[LedgerEntry, ...]:
        """The ledger's servers that are not gone: one, or an old and a new one."""
        return tuple(entry for entry in self.entries if entry.kind == Kind.SERVER.value)

    def leaving(self) -> tuple[LedgerEntry, ...]:
        """What has to go in this phase: everything, or for a new incarnation only the servers of earlier ones."""
        servers = self.servers()
        if self.phase is NodePhase.REMOVING:
            return (*servers, *(entry for entry in self.entries if entry not in servers))
        if self.phase is NodePhase.REPLACING:
            coming = server_key(self.node.node_id, self.row.incarnation)
            return tuple(entry for entry in servers if entry.key != coming)
        return ()

    def wants_drain(self) -> bool:
        """Whether it is worth asking Kubernetes if this node's pods can leave."""
        row = self.row
        available = self.cluster is not None and self.cluster.phase == InfrastructurePhase.AVAILABLE.value
        return (
            row.wanted is Wanted.REMOVED
            and row.drain
            and row.role is Role.WORKER
            and available
            and not self.cluster_deleted
            and self.phase in (NodePhase.PROVISIONED, NodePhase.DRAINING)
        )

    def facts(self, now: datetime, drain_limit: timedelta) -> NodeFacts:
        """What the table of phases decides by."""
        node, row = self.node, self.row
        limit_reached = node.drained_at is not None and now > node.drained_at + drain_limit
        rebooted = node.rebooted_at is not None and now > node.rebooted_at + REBOOT_TAKES
        return NodeFacts(
            cluster_deleted=self.cluster_deleted,
            removal_wanted=row.wanted is Wanted.REMOVED,
            in_time=now <= row.valid_until,
            drain_wanted=self.drainable,
            drained=node.drain_done or limit_reached,
            incarnation_wanted=row.incarnation > node.incarnation,
            reboot_wanted=row.reboots > node.reboots,
            reboot_done=rebooted and self.server_state is ServerState.ACTIVE,
            update_wanted=node.joined_at is not None and self.plan.revision > self.plan.applied_revision,
            port_made=node.port_id is not None,
            server_made=node.server_id is not None,
            server=self.server_state,
            agent_claimed=self.plan.claimed,
            plan_applied=self.plan.applied,
            plan_failed=self.plan.failed,
            joined=node.joined_at is not None,
            given_up=self.phase in (NodePhase.PENDING, NodePhase.CREATING) and node.cause is not None,
            things_left=bool(self.leaving()),
        )


_RECORDS = (
    select(NodeRecord, ClusterRecord, AgentRow, PlanRow)
    .outerjoin(ClusterRecord, col(ClusterRecord.cluster_id) == col(NodeRecord.cluster_id))
    .outerjoin(AgentRow, col(AgentRow.node_id) == col(NodeRecord.node_id))
    .outerjoin(PlanRow, col(PlanRow.node_id) == col(NodeRecord.node_id))
    .where(col(NodeRecord.node_id) == bindparam("of_node"))
)


async def observe_node(session: AsyncSession, node_id: str, now: datetime) -> NodeLook | None:
    """Read what is known of the node, if anything is."""
    found = (await session.execute(_RECORDS, {"of_node": node_id})).one_or_none()
    if found is None:
        return None
    node, cluster, agent, plan = found
    hold = await facts.fact_of(session, ClusterHold, f"clusters/{node.cluster_id}/hold")
    return NodeLook(
        node=node,
        cluster=cluster,
        spec=await spec_of(session, node.cluster_id),
        plan=plan_view(agent, plan, now),
        entries=tuple(await entries_of(session, node.cluster_id, node_id=node.node_id)),
        paused=hold is not None and hold.body.hold is Hold.PAUSE,
    )
