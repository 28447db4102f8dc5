"""In which state a cluster and a node are, in one word and one reason, as people see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeRow, NodeTable, PoolRefusals, Wanted
from slipway_contracts.monitor import ClusterHealth, EtcdMembership, NodeHealth, Verdict
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodePhase, NodeState
from slipway_contracts.values import Mover, Reason


class ClusterState(StrEnum):
    """The state of a cluster in one word."""

    CREATING = "creating"
    READY = "ready"
    UPDATING = "updating"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    DELETING = "deleting"
    DELETED = "deleted"


@dataclass(frozen=True)
class OperationStatus:
    """What is known of the operation that made the current generation."""

    state: OperationState
    percent: int = 0
    cause: Reason | None = None


@dataclass(frozen=True)
class NodeFacts:
    """All that the services say of one node."""

    row: NodeRow
    state: NodeState | None
    health: NodeHealth | None

    @property
    def is_ready(self) -> bool:
        """Whether the monitor sees this very server healthy."""
        return (
            self.row.wanted is Wanted.PRESENT
            and self.health is not None
            and self.health.verdict is Verdict.HEALTHY
            and self.health.incarnation == self.row.incarnation
        )


@dataclass(frozen=True)
class ClusterFacts:
    """All that the services say of one cluster; what nobody has said yet is absent."""

    spec: ClusterSpec
    operation: OperationStatus | None = None
    infrastructure: ClusterInfrastructure | None = None
    health: ClusterHealth | None = None
    etcd: EtcdMembership | None = None
    tables: Sequence[NodeTable] = ()
    refusals: Sequence[PoolRefusals] = ()
    nodes: Sequence[NodeFacts] = ()
    deleted: bool = False

    @property
    def carried_out(self) -> int:
        """The newest generation that the healer has acted upon; 0: none yet."""
        return max((table.cluster_generation for table in self.tables), default=0)

    @property
    def nodes_wanted(self) -> int:
        """How many nodes the pools should have."""
        return 0 if self.spec.deletion_requested_at else sum(pool.count for pool in self.spec.pools)

    @property
    def nodes_ready(self) -> int:
        """How many are seen healthy."""
        return sum(1 for node in self.nodes if node.is_ready)


@dataclass(frozen=True)
class Condition:
    """A state and why it is so."""

    state: ClusterState
    reason: Reason | None = None


def decide_condition(cluster: ClusterFacts) -> Condition:
    """The cluster's state; the first rule that applies, in the order of what a user must know first."""
    if cluster.deleted:
        return Condition(ClusterState.DELETED)
    if cluster.spec.deletion_requested_at is not None:
        return Condition(ClusterState.DELETING, _why_deleting(cluster))
    operation = cluster.operation
    if operation is None or operation.state is OperationState.RUNNING:
        cause = operation.cause if operation else None
        return Condition(_in_progress(cluster.infrastructure), cause or _waiting(cluster.infrastructure))
    if operation.state is OperationState.BLOCKED:
        return Condition(ClusterState.BLOCKED, operation.cause)
    if operation.state is OperationState.FAILED:
        return Condition(ClusterState.DEGRADED, operation.cause)
    return _in_operation(cluster)


def _in_progress(infrastructure: ClusterInfrastructure | None) -> ClusterState:
    available = infrastructure is not None and infrastructure.phase is InfrastructurePhase.AVAILABLE
    return ClusterState.UPDATING if available else ClusterState.CREATING


def _waiting(infrastructure: ClusterInfrastructure | None) -> Reason | None:
    return infrastructure.waiting if infrastructure is not None else None


def _why_deleting(cluster: ClusterFacts) -> Reason | None:
    blocked = cluster.operation is not None and cluster.operation.state is not OperationState.RUNNING
    if blocked and cluster.operation is not None and cluster.operation.cause is not None:
        return cluster.operation.cause
    infrastructure = cluster.infrastructure
    if infrastructure is None:
        return None
    if infrastructure.waiting is not None:
        return infrastructure.waiting
    if not infrastructure.remaining:
        return None
    first = infrastructure.remaining[0]
    named = f"{first.kind} {first.name}"
    others = f" and {len(infrastructure.remaining) - 1} more" if len(infrastructure.remaining) > 1 else ""
    return Reason(code="RemovingResources", message=f"Still to be removed: {named}{others}.", whose_move=Mover.CLOUD)


def _in_operation(cluster: ClusterFacts) -> Condition:
    health = cluster.health
    if health is not None and health.verdict is Verdict.UNHEALTHY:
        return Condition(ClusterState.DEGRADED, health.reasons[0] if health.reasons else None)
    missing = cluster.nodes_wanted - cluster.nodes_ready
    if missing > 0:
        message = f"{cluster.nodes_ready} of {cluster.nodes_wanted} nodes are ready."
        return Condition(ClusterState.DEGRADED, _refused(cluster) or Reason(code="NodesNotReady", message=message))
    return Condition(ClusterState.READY)


def _refused(cluster: ClusterFacts) -> Reason | None:
    refusals = [refusal for pool in cluster.refusals for refusal in pool.refusals]
    return refusals[0].reason if refusals else None


class NodeStatus(StrEnum):
    """The state of a node in one word."""

    PENDING = "pending"
    CREATING = "creating"
    BOOTING = "booting"
    CONFIGURING = "configuring"
    JOINING = "joining"
    READY = "ready"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    REBOOTING = "rebooting"
    REPLACING = "replacing"
    FAILED = "failed"
    DRAINING = "draining"
    REMOVING = "removing"
    LEAVING = "leaving"
    REMOVED = "removed"


_BY_PHASE = {
    NodePhase.PENDING: NodeStatus.PENDING,
    NodePhase.CREATING: NodeStatus.CREATING,
    NodePhase.BOOTING: NodeStatus.BOOTING,
    NodePhase.CONFIGURING: NodeStatus.CONFIGURING,
    NodePhase.REBOOTING: NodeStatus.REBOOTING,
    NodePhase.REPLACING: NodeStatus.REPLACING,
    NodePhase.FAILED: NodeStatus.FAILED,
    NodePhase.DRAINING: NodeStatus.DRAINING,
    NodePhase.REMOVING: NodeStatus.REMOVING,
    NodePhase.REMOVED: NodeStatus.REMOVED,
}


def decide_node_status(node: NodeFacts) -> NodeStatus:
    """The node's state in one word."""
    phase = node.state.phase if node.state is not None else NodePhase.PENDING
    leaving = node.row.wanted is Wanted.REMOVED
    if leaving and phase not in (NodePhase.DRAINING, NodePhase.REMOVING, NodePhase.REMOVED):
        return NodeStatus.LEAVING
    if phase is not NodePhase.PROVISIONED:
        return _BY_PHASE[phase]
    if node.health is None or node.health.incarnation != node.row.incarnation:
        return NodeStatus.JOINING
    if node.health.verdict is Verdict.HEALTHY:
        return NodeStatus.READY
    return NodeStatus.UNHEALTHY if node.health.verdict is Verdict.UNHEALTHY else NodeStatus.UNKNOWN


def decide_node_reason(node: NodeFacts) -> Reason | None:
    """Why the node is not ready: the first cause that anybody names."""
    state = node.state
    if state is not None and (state.cause or state.waiting):
        return state.cause or state.waiting
    if node.row.wanted is Wanted.REMOVED and node.row.reason is not None:
        return node.row.reason
    return _what_is_seen(node) or _why_made(node.row)


def _what_is_seen(node: NodeFacts) -> Reason | None:
    """What speaks against a node that was started; before that nobody can see much of it."""
    health, started = node.health, node.state is not None and node.state.phase is NodePhase.PROVISIONED
    if not started or health is None or health.incarnation != node.row.incarnation:
        return None
    if health.verdict is Verdict.HEALTHY:
        return None
    saw = next((each.saw for each in health.witnesses if each.verdict is health.verdict), None)
    return Reason(code="NodeUnhealthy", message=saw) if saw is not None else None


def _why_made(row: NodeRow) -> Reason | None:
    """The healer's reason; where it is about the server or node before this one, it says so."""
    if row.reason is None or (row.replaces is None and row.incarnation == 1):
        return row.reason
    return row.reason.model_copy(update={"message": f"Its predecessor: {row.reason.message}"})
