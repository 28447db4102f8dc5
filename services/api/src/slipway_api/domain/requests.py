"""What users may ask for: the bodies of the REST API. A field that is not here is refused by name."""

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, StrictInt

from slipway_chassis.machines import KubeletInput, RootVolumeInput, RuntimeInput
from slipway_contracts.api import ClusterUser, HealthPolicy, Taint
from slipway_contracts.values import Role


class Body(BaseModel):
    """A request body; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HealthRequest(Body):
    """How long a condition must last before a node is replaced."""

    unready_after: float = Field(default=300, ge=30, le=86400, description="seconds")
    never_joined_after: float = Field(default=600, ge=60, le=86400, description="seconds, from ACTIVE")

    def policy(self) -> HealthPolicy:
        """As the contracts have it."""
        return HealthPolicy(
            unready_after=timedelta(seconds=self.unready_after),
            never_joined_after=timedelta(seconds=self.never_joined_after),
        )


class TaintRequest(Body):
    """A Kubernetes taint."""

    key: str
    value: str = ""
    effect: str = Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$")

    def taint(self) -> Taint:
        """As the contracts have it."""
        return Taint(key=self.key, value=self.value, effect=self.effect)


class PoolRequest(Body):
    """A node pool. What is left out is taken from the cluster's request, then from the region's defaults."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "gpu", "role": "worker", "count": 3, "flavor": "g1.large"}]}
    )

    name: str = Field(description="a DNS label, unique in the cluster")
    role: Role = Role.WORKER
    count: StrictInt = Field(description="etcd: 1, 3, 5 or 7; controller: 1 to 5; worker: 0 or more")
    flavor: str | None = Field(default=None, description="name or id")
    image: str | None = Field(default=None, description="name or id")
    network: str | None = Field(default=None, description="name or id")
    node_spec: str | None = Field(
        default=None, description="a node spec of the region, as name or name@version; instead of the machines' fields"
    )
    root_volume: RootVolumeInput | None = Field(
        default=None, description="boot from a volume instead of the hypervisor's own disk"
    )
    runtime: RuntimeInput | None = Field(default=None, description="the container runtime's options")
    kubelet: KubeletInput | None = Field(default=None, description="the kubelet's options")
    zones: tuple[str, ...] | None = Field(default=None, description="availability zones, filled round robin")
    labels: dict[str, str] = Field(default={}, description="put on the pool's Nodes and kept there")
    taints: tuple[TaintRequest, ...] = Field(default=(), description="put on the pool's Nodes and kept there")
    health: HealthRequest = HealthRequest()


class ClusterRequest(Body):
    """A cluster. Only the name is needed: 5 etcd nodes, 3 controllers and 3 workers of the region's defaults."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "shop"},
                {
                    "name": "shop",
                    "release": "v1.36.3",
                    "network": "private",
                    "pools": [
                        {"name": "etcd", "role": "etcd", "count": 3, "flavor": "m1.small"},
                        {"name": "controller", "role": "controller", "count": 3, "flavor": "m1.medium"},
                        {"name": "worker", "role": "worker", "count": 3, "flavor": "m1.large", "labels": {"tier": "a"}},
                    ],
                },
            ]
        }
    )

    name: str = Field(description="a DNS label, unique in the project")
    region: str | None = Field(default=None, description="see /v1/regions; the first one when left out")
    release: str | None = Field(default=None, description="Kubernetes release", examples=["v1.36.3"])
    network: str | None = Field(default=None, description="name or id: of the endpoint and, by default, of the nodes")
    flavor: str | None = Field(default=None, description="name or id, for pools that name none")
    image: str | None = Field(default=None, description="name or id, for pools that name none")
    zones: tuple[str, ...] | None = Field(default=None, description="for pools that name none")
    pod_cidr: str = "10.244.0.0/16"
    service_cidr: str = "10.96.0.0/16"
    dns_domain: str = Field(
        default="cluster.local",
        max_length=128,
        pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$",
        description="DNS labels with dots between them",
    )
    pools: tuple[PoolRequest, ...] = Field(default=(), max_length=32, description="roles left out get their default")


class UserRequest(Body):
    """A person's rights inside the cluster."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "alice@3f2a", "persona": "member"}]})

    name: str = Field(description="<user name>@<user id>, both as Keystone has them; at most 255 bytes")
    persona: str = Field(pattern="^(reader|member|admin)$")

    def user(self) -> ClusterUser:
        """As the contracts have it."""
        return ClusterUser.model_validate(self.model_dump())


class ClusterChange(Body):
    """What can be changed of a cluster itself; pools have their own path."""

    users: tuple[UserRequest, ...] | None = Field(
        default=None, max_length=200, description="the complete list of who may enter the cluster"
    )


MACHINE_FIELDS = frozenset({"flavor", "image", "node_spec", "root_volume", "runtime", "kubelet"})
"""What machines are made of: a change of one replaces them."""


class PoolChange(Body):
    """What can be changed of a pool. Other machines replace its nodes one by one; labels and taints change in place."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"count": 6}, {"count": 2, "victims": ["shop-worker-x1y2z"]}]}
    )

    count: StrictInt | None = None
    victims: tuple[str, ...] | None = Field(
        default=None, max_length=1000, description="names or ids of nodes that go first when the pool shrinks"
    )
    labels: dict[str, str] | None = None
    taints: tuple[TaintRequest, ...] | None = None
    zones: tuple[str, ...] | None = None
    flavor: str | None = None
    image: str | None = None
    node_spec: str | None = Field(default=None, description="as name or name@version")
    root_volume: RootVolumeInput | None = Field(default=None, description="null: the hypervisor's own disk again")
    runtime: RuntimeInput | None = Field(default=None, description="all of the runtime's options")
    kubelet: KubeletInput | None = Field(default=None, description="all of the kubelet's options")
    health: HealthRequest | None = None

    @property
    def machine_fields(self) -> list[str]:
        """Which of its fields say what machines are made of; null says so of a root volume only."""
        said = sorted(self.model_fields_set & MACHINE_FIELDS)
        return [name for name in said if name == "root_volume" or getattr(self, name) is not None]


class KubeconfigRequest(Body):
    """A public key to sign; without one, only the endpoint and its CA are answered."""

    csr_pem: str | None = Field(default=None, max_length=8192, description="PKCS#10; the subject is ignored")
    lifetime: float = Field(default=12 * 3600, gt=0, le=12 * 3600, description="seconds")
    grant: bool = Field(
        default=True, description="whether who may not enter yet is let in; a program that renews says false"
    )


IMMUTABLE_CLUSTER_FIELDS = frozenset(ClusterRequest.model_fields) - frozenset(ClusterChange.model_fields)
"""Known fields of a cluster that a PATCH names in vain: said so, instead of calling them unknown."""
IMMUTABLE_POOL_FIELDS = frozenset(PoolRequest.model_fields) - frozenset(PoolChange.model_fields)
