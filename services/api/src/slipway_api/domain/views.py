"""What the REST API answers: the shapes that OpenAPI documents."""

from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from slipway_contracts.api import ClusterUser, HealthPolicy, KubeletOptions, RootVolume, RuntimeOptions, Taint
from slipway_contracts.monitor import EtcdMemberHealth, Witness
from slipway_contracts.provisioner import Evidence, Remainder, Step
from slipway_contracts.values import Reason


class View(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, ser_json_timedelta="float")


class RefusalView(View):
    """What the healer would have done and did not."""

    gate: str
    node_id: str | None = None
    reason: Reason
    look_again_at: datetime


class PoolView(View):
    """A node pool: what is wanted, and how many of its nodes are ready."""

    id: str
    name: str
    role: str
    count: int
    ready: int
    flavor_id: str
    image_id: str
    network_id: str
    node_spec: str = Field(description="name@version of what the machines are made of", examples=["standard@2"])
    machine_version: int = Field(description="grows with each change of the pool's own machines")
    root_volume: RootVolume | None = None
    runtime: RuntimeOptions = RuntimeOptions()
    kubelet: KubeletOptions = KubeletOptions()
    zones: tuple[str, ...]
    labels: dict[str, str]
    taints: tuple[Taint, ...]
    health: HealthPolicy
    victims: tuple[str, ...] = Field(description="ids of nodes that go first when the pool shrinks")
    refusals: tuple[RefusalView, ...] = ()


class ClusterSummary(View):
    """A cluster in a list."""

    id: str
    name: str
    region: str
    release: str
    state: str = Field(description="creating, ready, updating, degraded, blocked, deleting or deleted")
    reason: Reason | None = None
    nodes_wanted: int
    nodes_ready: int
    percent: int = Field(description="of the current operation")
    endpoint: str | None = None
    generation: int
    operation_id: str
    created_at: datetime


class InfrastructureView(View):
    """The shared parts: network, endpoint, keys; at deletion, what is left."""

    phase: str
    steps: tuple[Step, ...] = ()
    waiting: Reason | None = None
    remaining: tuple[Remainder, ...] = ()


class AddonView(View):
    """An addon in the cluster."""

    name: str
    phase: str
    version: str | None
    wanted_version: str
    reason: Reason | None = None


class EtcdView(View):
    """The members of etcd, as most of their agents see them."""

    voters: tuple[EtcdMemberHealth, ...]
    learners: tuple[EtcdMemberHealth, ...] = Field(description="new members that do not vote yet")
    leader_id: str | None = None
    since: datetime


class ClusterView(ClusterSummary):
    """A cluster with all that is known of it."""

    project_id: str
    network_id: str
    pod_cidr: str
    service_cidr: str
    dns_domain: str
    encrypt_secrets: bool
    deletion_requested_at: datetime | None = None
    ca_pem: str | None = None
    pools: tuple[PoolView, ...]
    users: tuple[ClusterUser, ...]
    infrastructure: InfrastructureView | None = None
    etcd: EtcdView | None = None
    addons: tuple[AddonView, ...] = ()


class NodeView(View):
    """A node: the healer's row, the provisioner's progress and the monitor's verdict in one."""

    id: str
    name: str
    pool_id: str
    pool: str
    role: str
    zone: str | None = None
    state: str
    reason: Reason | None = None
    step: str | None = Field(default=None, description="what is being done now")
    percent: int
    created_at: datetime
    since: datetime = Field(description="when it came into this phase")
    addresses: tuple[str, ...] = ()
    server_id: str | None = None
    server_state: str | None = None
    host: str | None = Field(default=None, description="the cloud's opaque id of the host, for checking the spread")
    incarnation: int
    reboots: int
    replaces: str | None = None


class NodeDetail(NodeView):
    """A node with its steps, witnesses and evidence."""

    port_id: str | None = None
    steps: tuple[Step, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    notices: tuple[Reason, ...] = Field(default=(), description="what works and is not as it should be")
    evidence: Evidence | None = None


class OperationView(View):
    """An operation: long work that somebody asked for."""

    id: str
    cluster_id: str
    cluster: str
    kind: str
    generation: int
    state: str = Field(description="running, blocked, succeeded or failed")
    percent: int
    steps: tuple[Step, ...] = ()
    cause: Reason | None = None
    parameters: dict[str, Any] = {}
    requested_by: str
    requested_at: datetime
    finished_at: datetime | None = None


class AcceptedView(View):
    """Accepted (202): the operation tells how it goes on."""

    operation: OperationView
    cluster: ClusterView


class EventView(View):
    """One event of the stream."""

    id: int
    type: str = Field(examples=["node.created"])
    time: datetime
    cluster_id: str
    operation_id: str | None = None
    node_id: str | None = None
    subject: str
    message: str
    data: dict[str, Any]


class KubeconfigView(View):
    """What a client needs to enter the cluster, beside its own key, which never moves."""

    endpoint: str
    ca_pem: str
    certificate_pem: str | None = None
    expires_at: datetime | None = None
    user: str
    operation_id: str | None = Field(
        default=None, description="the operation that lets the user in, where she could not enter before"
    )
    kubeconfig: dict[str, Any] = Field(description="complete but for the private key (client-key-data)")


class RegionView(View):
    """A region that clusters can be in."""

    name: str
    releases: tuple[str, ...]
    zones: tuple[str, ...]
    default_release: str | None = None
    default_image: str | None = None
    default_network: str | None = None
    default_flavors: dict[str, str] = {}
    auth_url: str | None = Field(default=None, description="the Keystone whose tokens count there")
    trusted: bool | None = Field(default=None, description="whether what is observed there may be acted upon")
    suspicions: tuple[Reason, ...] = ()


class NodeSpecView(View):
    """One version of a region's description of machines, which pools refer to as name or name@version."""

    region: str
    name: str
    version: int
    description: str = ""
    image: str | None = Field(default=None, description="none: the region's default")
    flavor: str | None = Field(default=None, description="none: the region's default")
    root_volume: RootVolume | None = None
    runtime: RuntimeOptions = RuntimeOptions()
    kubelet: KubeletOptions = KubeletOptions()


class AlertView(View):
    """Somebody should look."""

    id: str
    name: str
    severity: str
    cluster_id: str | None
    node_id: str | None
    message: str
    raised_at: datetime
    resolved_at: datetime | None = None


T = TypeVar("T")


class Page(View, Generic[T]):
    """A page of a list; `next` is the marker of the next page, absent on the last."""

    items: tuple[T, ...]
    next: str | None = None


class ProblemErrorView(View):
    """One thing wrong with one field."""

    code: str
    field: str
    message: str
    remedy: str


class ProblemView(View):
    """Problem details (RFC 9457)."""

    type: str = Field(examples=["urn:slipway:problem:unknown_flavor"])
    title: str
    status: int
    detail: str
    instance: str
    code: str
    errors: tuple[ProblemErrorView, ...] = ()
