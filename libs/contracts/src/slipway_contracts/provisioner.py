"""What the provisioner owns: servers, endpoints, plans and how far they are."""

from enum import StrEnum

from pydantic import Field

from slipway_contracts.envelope import Body, Event
from slipway_contracts.healer import NodeRow
from slipway_contracts.values import Id, Instant, Reason, Value


class NodePhase(StrEnum):
    """Where one node is on its way; `removing` is irrevocable."""

    PENDING = "pending"
    CREATING = "creating"
    BOOTING = "booting"
    CONFIGURING = "configuring"
    PROVISIONED = "provisioned"
    REBOOTING = "rebooting"
    REPLACING = "replacing"
    FAILED = "failed"
    DRAINING = "draining"
    REMOVING = "removing"
    REMOVED = "removed"


class ServerState(StrEnum):
    """What the cloud says of the node's server; `gone` only when confirmed by two witnesses of the design."""

    NONE = "none"
    BUILDING = "building"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    WORKING = "working"
    DELETING = "deleting"
    GONE = "gone"
    UNKNOWN = "unknown"


class StepState(StrEnum):
    """How far one step of a plan or of an operation is."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"


class Step(Value):
    """One step, as a user sees it."""

    name: str
    title: str
    state: StepState
    since: Instant | None = None
    message: str | None = None


class Evidence(Value):
    """What is kept of a node that did not come up."""

    console: str | None = Field(default=None, description="the end of the console log")
    agent: str | None = Field(default=None, description="the end of the agent's log")
    last_step: str | None = None
    incarnation: int | None = Field(default=None, ge=1, description="of the server that it was taken of")
    taken_at: Instant | None = None


class NodeState(Body):
    """One node as the provisioner has it."""

    cluster_id: Id
    pool_id: Id
    node_id: Id
    row: NodeRow = Field(description="the last accepted row of the node table")
    incarnation: int | None = Field(
        default=None, ge=1, description="of the server that is there or being made; the row's may be greater"
    )
    phase: NodePhase
    since: Instant
    server_state: ServerState = ServerState.NONE
    server_id: Id | None = None
    port_id: Id | None = None
    addresses: tuple[str, ...] = ()
    zone: str | None = None
    host: str | None = Field(default=None, description="the cloud's opaque hostId, for checking the spread")
    active_at: Instant | None = Field(default=None, description="when the server became ACTIVE")
    joined_at: Instant | None = Field(default=None, description="when the plan was first applied to its end")
    waited_for_others: float = Field(default=0.0, ge=0, description="seconds that the plan waited for other nodes")
    steps: tuple[Step, ...] = ()
    percent: int = Field(default=0, ge=0, le=100)
    waiting: Reason | None = None
    plan_revision: int = 0
    applied_revision: int = 0
    stale: bool = Field(default=False, description="the row's removal or reboot was not started in time")
    cause: Reason | None = Field(default=None, description="why it failed")
    notices: tuple[Reason, ...] = Field(
        default=(), description="what works and is not as it should be, such as a runtime that the region lets pass"
    )
    evidence: Evidence | None = Field(
        default=None, description="of its last server that did not come up; kept until one does, and after its end"
    )
    created_at: Instant


class NodeCreated(Event[NodeState], noun="node", verb="created", owner="provisioner"):
    """The node is known and on its way; also used for each later change of its state on that way."""


class NodeProvisioned(Event[NodeState], noun="node", verb="provisioned", owner="provisioner"):
    """The node's plan is applied to its end."""


class NodeProvisioningFailed(Event[NodeState], noun="node", verb="provisioning_failed", owner="provisioner"):
    """The node's server or plan failed; the body has the cause and the evidence."""


class NodeRemoved(Event[NodeState], noun="node", verb="removed", owner="provisioner", ends=True):
    """The node is gone: its server and, unless it is stable and stays, its port."""


class InfrastructurePhase(StrEnum):
    """Where the shared parts of a cluster are."""

    PENDING = "pending"
    BUILDING = "building"
    READY = "ready"
    AVAILABLE = "available"
    DELETING = "deleting"
    DELETED = "deleted"


class Remainder(Value):
    """A cloud resource that a deletion has not removed yet, and why."""

    kind: str
    cloud_id: str
    name: str
    reason: Reason | None = None


class ClusterInfrastructure(Body):
    """The shared parts of one cluster: network, endpoint, keys; and how its deletion goes."""

    cluster_id: Id
    phase: InfrastructurePhase
    since: Instant
    endpoint: str | None = Field(default=None, examples=["https://10.0.0.4:6443"])
    ca_pem: str | None = Field(default=None, description="the certificate of the cluster's Kubernetes CA; no secret")
    lowest_release: str | None = Field(default=None, description="observed on the nodes")
    highest_release: str | None = None
    steps: tuple[Step, ...] = ()
    waiting: Reason | None = None
    remaining: tuple[Remainder, ...] = ()


class ClusterInfrastructureChanged(
    Event[ClusterInfrastructure], noun="cluster", verb="infrastructure_changed", owner="provisioner"
):
    """A step of the shared parts moved on."""


class ClusterInfrastructureReady(
    Event[ClusterInfrastructure], noun="cluster", verb="infrastructure_ready", owner="provisioner"
):
    """Endpoint and keys exist."""


class ControlPlaneAvailable(
    Event[ClusterInfrastructure], noun="cluster", verb="control_plane_available", owner="provisioner"
):
    """The Kubernetes API answers through the endpoint and the services' own bindings are in place."""


class ClusterDeleted(Event[ClusterInfrastructure], noun="cluster", verb="deleted", owner="provisioner", ends=True):
    """Nothing of the cluster is left in the cloud, as verified by listing it."""
