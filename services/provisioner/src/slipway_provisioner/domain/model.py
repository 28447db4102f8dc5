"""What the provisioner sees in the cloud and asks of it, in the cloud's own nouns."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from slipway_contracts.api import RootVolume
from slipway_contracts.provisioner import ServerState
from slipway_provisioner.domain.naming import resource_id_of


class Kind(StrEnum):
    """The kinds of resources that the ledger knows."""

    SECURITY_GROUP = "security_group"
    SERVER_GROUP = "server_group"
    PORT = "port"
    SERVER = "server"
    LOAD_BALANCER = "load_balancer"
    LISTENER = "listener"
    POOL = "pool"
    HEALTH_MONITOR = "health_monitor"
    FLOATING_IP = "floating_ip"


BALANCER_PARTS = (Kind.LISTENER, Kind.POOL, Kind.HEALTH_MONITOR)
"""What goes with its load balancer when that is deleted."""


RESOURCE_TAG = "slipway:resource="
KEY_TAG = "slipway:key="
CLUSTER_TAG = "slipway:cluster="


@dataclass(frozen=True)
class Mark:
    """By what a resource is recognised as ours, whoever asks and whenever."""

    resource_id: str
    cluster_id: str
    node_id: str | None = None
    incarnation: int | None = None
    key: str | None = None
    """What it is for, as in the ledger: so a ledger that has forgotten it can know it again."""

    @property
    def description(self) -> str:
        """For kinds with a description, which unlike tags is set in the very call that creates them."""
        key = f" {KEY_TAG}{self.key}" if self.key is not None else ""
        return f"{cluster_tag(self.cluster_id)} {RESOURCE_TAG}{self.resource_id}{key}"

    @property
    def tags(self) -> tuple[str, ...]:
        """For kinds with tags."""
        node = (f"slipway:node={self.node_id}",) if self.node_id else ()
        return (cluster_tag(self.cluster_id), *node, RESOURCE_TAG + self.resource_id)

    @property
    def metadata(self) -> dict[str, str]:
        """For servers."""
        known = {
            "slipway_cluster": self.cluster_id,
            "slipway_node": self.node_id,
            "slipway_incarnation": str(self.incarnation) if self.incarnation is not None else None,
            "slipway_resource": self.resource_id,
            "slipway_key": self.key,
        }
        return {key: value for key, value in known.items() if value is not None}


def cluster_tag(cluster_id: str) -> str:
    """The tag of everything that belongs to a cluster."""
    return CLUSTER_TAG + cluster_id


@dataclass(frozen=True)
class Order:
    """What to create. Subclasses say the rest."""

    kind: ClassVar[Kind]

    name: str
    mark: Mark


@dataclass(frozen=True)
class SecurityGroupOrder(Order):
    """An empty security group."""

    kind: ClassVar[Kind] = Kind.SECURITY_GROUP


@dataclass(frozen=True)
class ServerGroupOrder(Order):
    """A server group whose members go to different hosts where there are enough (soft anti-affinity)."""

    kind: ClassVar[Kind] = Kind.SERVER_GROUP


@dataclass(frozen=True)
class PortOrder(Order):
    """A port."""

    kind: ClassVar[Kind] = Kind.PORT

    network_id: str
    security_groups: tuple[str, ...] | None = None
    """None: the project's default group (the load balancer's driver adds its own)."""
    address: str | None = None
    """Only for a port made again whose address others have written down; None: of the network's choice."""


@dataclass(frozen=True)
class ServerOrder(Order):
    """A server with exactly this port."""

    kind: ClassVar[Kind] = Kind.SERVER

    image_id: str
    flavor_id: str
    port_id: str
    zone: str | None
    server_group: str | None
    user_data: str = field(repr=False)
    labels: dict[str, str] = field(default_factory=dict)
    """Metadata that the operator wants on every server, beside the mark."""
    root_volume: RootVolume | None = None
    """None: the hypervisor's own disk."""

    @property
    def metadata(self) -> dict[str, str]:
        """All metadata of the server; the mark cannot be overwritten."""
        return {**self.labels, **self.mark.metadata}


@dataclass(frozen=True)
class BalancerOrder(Order):
    """A load balancer on a port of its own."""

    kind: ClassVar[Kind] = Kind.LOAD_BALANCER

    port_id: str


@dataclass(frozen=True)
class ListenerOrder(Order):
    """A TCP listener; connections may be silent for an hour (watches)."""

    kind: ClassVar[Kind] = Kind.LISTENER

    balancer_id: str
    port: int
    pool_id: str | None = None
    """A pool that is there already; None: it is made afterwards."""


@dataclass(frozen=True)
class PoolOrder(Order):
    """The listener's pool."""

    kind: ClassVar[Kind] = Kind.POOL

    listener_id: str


@dataclass(frozen=True)
class MonitorOrder(Order):
    """Asks each member's /readyz over HTTPS every `delay` seconds."""

    kind: ClassVar[Kind] = Kind.HEALTH_MONITOR

    pool_id: str
    delay: float


@dataclass(frozen=True)
class FloatingIpOrder(Order):
    """An address of an external network that leads to a port."""

    kind: ClassVar[Kind] = Kind.FLOATING_IP

    network_id: str
    port_id: str


@dataclass(frozen=True)
class Found:
    """A resource that exists, with what recognises it."""

    kind: Kind
    cloud_id: str
    name: str
    resource_id: str | None
    """The ledger id it carries; None where the kind carries it in its name only."""
    cluster_id: str | None = None
    """The cluster whose mark it carries."""
    key: str | None = None
    """What it says that it is for, which proves nothing by itself."""
    status: str = ""
    address: str | None = None
    device_id: str | None = None
    """Of a port: the server that holds it; of a floating IP: the port that it leads to."""

    @property
    def is_ours(self) -> bool:
        """Whether its mark is one that only we make: its ledger id follows from its cluster and its key."""
        if self.cluster_id is None or self.key is None:
            return False
        return self.resource_id == resource_id_of(self.cluster_id, self.key)


@dataclass(frozen=True)
class ServerView:
    """One server, as the cloud lists it."""

    server_id: str
    name: str
    state: ServerState
    metadata: dict[str, str]
    zone: str | None = None
    host: str | None = None
    fault: str | None = None
    deleted: bool = False


@dataclass(frozen=True)
class Member:
    """A controller behind the endpoint."""

    node_id: str
    address: str
    port: int
    weight: int = 1
    """0: it keeps the connections that it has and gets no new ones."""


@dataclass(frozen=True)
class MemberView:
    """A member as the endpoint shows it."""

    member: Member
    failing: bool = False
    """Its health check fails: nobody is sent to it any more."""
