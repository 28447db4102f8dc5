"""What the provisioner says of nodes and clusters, made from their records, in the transaction that changes them."""

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.outbox import Announcer
from slipway_contracts.envelope import Event
from slipway_contracts.healer import NodeRow
from slipway_contracts.provisioner import (
    ClusterDeleted,
    ClusterInfrastructure,
    ClusterInfrastructureChanged,
    ClusterInfrastructureReady,
    ControlPlaneAvailable,
    Evidence,
    InfrastructurePhase,
    NodeCreated,
    NodePhase,
    NodeProvisioned,
    NodeProvisioningFailed,
    NodeRemoved,
    NodeState,
    Remainder,
    ServerState,
)
from slipway_contracts.values import Reason
from slipway_provisioner.domain.plans.model import host_port
from slipway_provisioner.domain.progress import (
    NodeView,
    PlanView,
    infrastructure_steps,
    node_percent,
    node_steps,
    node_waiting,
)
from slipway_provisioner.store import ClusterRecord, NodeRecord

_NODE_EVENTS: dict[NodePhase, type[Event[NodeState]]] = {
    NodePhase.PROVISIONED: NodeProvisioned,
    NodePhase.FAILED: NodeProvisioningFailed,
    NodePhase.REMOVED: NodeRemoved,
}
"""All others: NodeCreated."""

_CLUSTER_EVENTS: dict[InfrastructurePhase, type[Event[ClusterInfrastructure]]] = {
    InfrastructurePhase.READY: ClusterInfrastructureReady,
    InfrastructurePhase.AVAILABLE: ControlPlaneAvailable,
    InfrastructurePhase.DELETED: ClusterDeleted,
}
"""All others: ClusterInfrastructureChanged."""


async def announce_node(session: AsyncSession, announcer: Announcer, node: NodeRecord, plan: PlanView) -> None:
    """Say how the node is, if that is new."""
    phase = NodePhase(node.phase)
    subject = f"clusters/{node.cluster_id}/nodes/{node.node_id}"
    await announcer.announce(session, _NODE_EVENTS.get(phase, NodeCreated), subject, node_state(node, plan))


def node_state(node: NodeRecord, plan: PlanView) -> NodeState:
    """The node's record as a contract."""
    refusal = Reason.model_validate(node.waiting) if node.waiting else None
    view = NodeView(
        phase=NodePhase(node.phase),
        since=node.since,
        server=ServerState(node.server_state),
        active_at=node.active_at,
        joined=node.joined_at is not None,
        has_port=node.port_id is not None,
        has_server=node.server_id is not None,
        plan=plan,
        refusal=refusal,
    )
    return NodeState(
        cluster_id=node.cluster_id,
        pool_id=node.pool_id,
        node_id=node.node_id,
        row=NodeRow.model_validate(node.row),
        incarnation=node.incarnation,
        phase=view.phase,
        since=node.since,
        server_state=view.server,
        server_id=node.server_id,
        port_id=node.port_id,
        addresses=tuple(node.addresses),
        zone=node.zone,
        host=node.host,
        active_at=node.active_at,
        joined_at=node.joined_at,
        waited_for_others=plan.waited_for_others,
        steps=node_steps(view),
        percent=node_percent(view),
        waiting=node_waiting(view),
        plan_revision=plan.revision,
        applied_revision=plan.applied_revision,
        stale=node.stale,
        cause=Reason.model_validate(node.cause) if node.cause else None,
        notices=plan.notices,
        evidence=Evidence.model_validate(node.evidence) if node.evidence else None,
        created_at=node.created_at,
    )


async def announce_cluster(
    session: AsyncSession, announcer: Announcer, cluster: ClusterRecord, ca_pem: str | None
) -> None:
    """Say how the cluster's shared parts are, if that is new."""
    phase = InfrastructurePhase(cluster.phase)
    waiting = Reason.model_validate(cluster.waiting) if cluster.waiting else None
    leaving = phase in (InfrastructurePhase.DELETING, InfrastructurePhase.DELETED)
    body = ClusterInfrastructure(
        cluster_id=cluster.cluster_id,
        phase=phase,
        since=cluster.since,
        endpoint=endpoint_url(cluster),
        ca_pem=ca_pem,
        lowest_release=cluster.lowest_release,
        highest_release=cluster.highest_release,
        steps=() if leaving else infrastructure_steps(cluster.done, cluster.since, waiting),
        waiting=waiting,
        remaining=tuple(Remainder.model_validate(each) for each in cluster.remaining),
    )
    subject = f"clusters/{cluster.cluster_id}/infrastructure"
    await announcer.announce(session, _CLUSTER_EVENTS.get(phase, ClusterInfrastructureChanged), subject, body)


def endpoint_url(cluster: ClusterRecord) -> str | None:
    """Where the cluster's API is reached, once that is known."""
    if cluster.outer_address is None:
        return None
    return f"https://{host_port(cluster.outer_address, cluster.endpoint_port)}"
