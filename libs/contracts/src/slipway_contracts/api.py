"""What the api owns: the desired state of clusters and the requests of their users."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from slipway_contracts.envelope import Body, Event
from slipway_contracts.values import DnsLabel, Id, Instant, Role, Value


class Taint(Value):
    """A Kubernetes taint, applied at registration and kept in place."""

    key: str
    value: str = ""
    effect: str = Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$")


RegistryHost = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?(:[0-9]{1,5})?$")]
"""A registry as image names begin with it: registry.k8s.io, registry.example:5000."""

HttpUrl = Annotated[
    str, StringConstraints(pattern=r"^https?://[-A-Za-z0-9._:\[\]]{1,253}(/[-A-Za-z0-9._~/%]{0,512})?$")
]
"""An http or https URL without user, query and fragment."""

Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(\.[0-9]{1,3})?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")]
"""An amount as Kubernetes writes it: 500m, 1Gi."""

Threshold = Annotated[
    str, StringConstraints(pattern=r"^([0-9]{1,15}(\.[0-9]{1,3})?(k|Ki|M|Mi|G|Gi|T|Ti)?|[0-9]{1,2}(\.[0-9]{1,3})?%)$")
]
"""An amount, or a part of all there is: 100Mi, 10%."""


class RootVolume(Value):
    """A volume that the machine boots from instead of its hypervisor's own disk; it goes with its server."""

    size: int = Field(ge=1, le=16384, description="GiB")
    type: str | None = Field(
        default=None, min_length=1, max_length=255, description="the cloud's volume type; none: the cloud's default"
    )


class RuntimeOptions(Value):
    """How the container runtime of a machine is set up, beyond what its region says."""

    registry_mirrors: dict[RegistryHost, HttpUrl] = Field(
        default={}, max_length=50, description="registry -> URL of its mirror; goes before the region's own"
    )
    insecure_registries: tuple[RegistryHost, ...] = Field(
        default=(), max_length=50, description="registries over plain HTTP, or whose certificate is not checked"
    )
    log_max_size: int | None = Field(default=None, ge=1, le=10240, description="MiB of one container's log file")
    log_max_files: int | None = Field(default=None, ge=2, le=100, description="log files kept of one container")
    cgroup_driver: str | None = Field(
        default=None, pattern="^(systemd|cgroupfs)$", description="of runtime and kubelet alike; none: the region's"
    )


class Reserved(Value):
    """What a kubelet keeps from pods."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    ephemeral_storage: Quantity | None = None


class Eviction(Value):
    """Below which of these a kubelet ends pods at once."""

    memory_available: Threshold | None = None
    nodefs_available: Threshold | None = None
    nodefs_inodes_free: Threshold | None = None
    imagefs_available: Threshold | None = None


class KubeletOptions(Value):
    """How the kubelet of a machine is set up; what is left out is as Kubernetes has it."""

    max_pods: int | None = Field(default=None, ge=10, le=250, description="a node has a /24 of the pod range")
    pod_pids_limit: int | None = Field(default=None, ge=64, le=4194304, description="processes of one pod")
    system_reserved: Reserved = Reserved()
    kube_reserved: Reserved = Reserved()
    eviction_hard: Eviction = Eviction()


class NodeSpec(Value):
    """A named, versioned description of the machines of a pool; a change of it replaces the machines."""

    name: str
    version: int = Field(ge=1)
    image_id: Id
    flavor_id: Id
    network_id: Id
    root_volume: RootVolume | None = None
    runtime: RuntimeOptions = RuntimeOptions()
    kubelet: KubeletOptions = KubeletOptions()


class HealthPolicy(Value):
    """How long a condition must last before a node is replaced."""

    unready_after: timedelta = Field(default=timedelta(minutes=5), description="seconds")
    never_joined_after: timedelta = Field(default=timedelta(minutes=10), description="seconds, from ACTIVE")


class PoolSpec(Value):
    """The desired state of one node pool."""

    pool_id: Id
    name: DnsLabel
    role: Role
    count: int = Field(ge=0)
    node_spec: NodeSpec
    zones: tuple[str, ...] = Field(default=(), description="availability zones, filled round robin; empty: any")
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()
    health: HealthPolicy = HealthPolicy()
    victims: tuple[Id, ...] = Field(default=(), description="node ids the user wants gone first at scale-in")


class Persona(StrEnum):
    """What a person may do in a project and in its clusters."""

    READER = "reader"
    MEMBER = "member"
    ADMIN = "admin"


class ClusterUser(Value):
    """A person whom RBAC binds by name inside the cluster; removing the binding revokes at once."""

    name: str = Field(description="the certificate's common name: <user name>@<user id>")
    persona: Persona


class ClusterSpec(Body):
    """The full desired state of one cluster; `deletion_requested_at` is never withdrawn and dominates everything."""

    cluster_id: Id
    name: DnsLabel
    project_id: Id
    region: str
    generation: int = Field(ge=1)
    operation_id: Id = Field(description="the operation that made this generation")
    created_at: Instant
    deletion_requested_at: Instant | None = None
    release: str = Field(description="Kubernetes release", examples=["v1.36.3"], pattern=r"^v\d+\.\d+\.\d+$")
    network_id: Id = Field(description="the network of the endpoint and, by default, of the nodes")
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    dns_domain: str = "cluster.local"
    encrypt_secrets: bool = True
    users: tuple[ClusterUser, ...] = ()
    pools: tuple[PoolSpec, ...]

    def pool(self, pool_id: str) -> PoolSpec | None:
        """The pool with this id."""
        return next((pool for pool in self.pools if pool.pool_id == pool_id), None)

    def pools_of(self, role: Role) -> tuple[PoolSpec, ...]:
        """The pools of a role."""
        return tuple(pool for pool in self.pools if pool.role is role)


class ClusterSpecChanged(Event[ClusterSpec], noun="cluster", verb="spec_changed", owner="api"):
    """The desired state of a cluster is now this."""


class OperationKind(StrEnum):
    """What an operation does."""

    CREATE_CLUSTER = "create_cluster"
    UPDATE_CLUSTER = "update_cluster"
    SCALE_POOL = "scale_pool"
    DELETE_CLUSTER = "delete_cluster"
    REPLACE_NODE = "replace_node"
