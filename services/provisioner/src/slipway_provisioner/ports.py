"""What the provisioner needs from outside, and how it may fail.

Every method may raise RetryLater (the cause will pass: the cloud is busy, away, or the quota is exceeded until its
owner acts) and GiveUp (the same call will never succeed). Nothing else leaves an adapter.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from slipway_chassis.errors import RetryLater
from slipway_contracts.values import Role
from slipway_provisioner.domain.kubernetes_nodes import Upkeep
from slipway_provisioner.domain.model import Found, Kind, Mark, Member, MemberView, Order, ServerView
from slipway_provisioner.domain.security_groups import GroupRule

T = TypeVar("T")

Ordered = Callable[[str, Mark], Order]
"""Makes the order of a part from its name and mark."""

Run = Callable[[Callable[[], T]], Awaitable[T]]
"""Runs a blocking call; a thread pool in a process, inline in a simulation."""


class OutcomeUnknown(RetryLater):
    """The call was sent and no answer came: its work may have been done, or may yet be."""


class Conflict(RetryLater):
    """The resource is in use or there already (409): look at what exists before trying again."""


class Cloud(Protocol):
    """One region's cloud, always on behalf of one project. An empty or partial answer is never 'none'."""

    async def create(self, project_id: str, order: Order) -> str:
        """Create and return the cloud's id. Not idempotent: look with `find` first where it may have been done.

        Raises OutcomeUnknown when no answer came, Conflict when a port or an address is in use.
        """
        ...

    async def find(self, project_id: str, kind: Kind, name: str, resource_id: str) -> tuple[Found, ...]:
        """What carries this ledger id, or, for kinds without a place for it, exactly this name; oldest first."""
        ...

    async def get(self, project_id: str, kind: Kind, cloud_id: str) -> Found | None:
        """The resource, or None when the cloud positively says that there is none of this id (404)."""
        ...

    async def delete(self, project_id: str, kind: Kind, cloud_id: str) -> None:
        """Ask for its deletion; not there (404) is fine. Conflict while something else still uses it."""
        ...

    async def list_marked(self, project_id: str, cluster_id: str | None = None) -> tuple[Found, ...]:
        """Everything in the project with the mark of the cluster, or of any, of all kinds that can carry one."""
        ...

    async def servers(self, project_id: str, changes_since: datetime | None) -> tuple[ServerView, ...]:
        """The project's servers, or those that changed, deleted ones included; a constant number of calls a page."""
        ...

    async def server(self, project_id: str, server_id: str) -> ServerView | None:
        """One server; None when the cloud positively says that there is none of this id (404)."""
        ...

    async def answers(self, project_id: str) -> None:
        """A control call with the same token, which succeeds when the cloud is sane; raises when it is not."""
        ...

    async def start_server(self, project_id: str, server_id: str) -> None:
        """Start a stopped server; one that runs is fine."""
        ...

    async def reboot_server(self, project_id: str, server_id: str) -> None:
        """Reboot hard; the disk stays."""
        ...

    async def console(self, project_id: str, server_id: str) -> str | None:
        """The end of its console log; None where the cloud has none."""
        ...

    async def ensure_rules(
        self, project_id: str, group_id: str, rules: Sequence[GroupRule], groups: dict[Role, str]
    ) -> None:
        """The security group has at least these rules."""
        ...

    async def ensure_tags(self, project_id: str, kind: Kind, cloud_id: str, tags: Sequence[str]) -> None:
        """The resource has at least these tags; nothing happens for kinds without tags or with tags at creation."""
        ...

    async def members(self, project_id: str, pool_id: str) -> tuple[MemberView, ...] | None:
        """The pool's members; None when the cloud positively says that there is no such pool (404)."""
        ...

    async def set_members(self, project_id: str, pool_id: str, members: Sequence[Member]) -> None:
        """The pool has exactly these members. Conflict while the load balancer is being changed, or is gone."""
        ...

    async def network_id(self, project_id: str, name: str) -> str:
        """The id of the network with this name or id; GiveUp where the project sees none, or several of the name."""
        ...

    async def lead_to(self, project_id: str, floating_ip_id: str, port_id: str) -> None:
        """The floating IP leads to this port."""
        ...


class EndpointParts(Protocol):
    """What one cluster's endpoint is made of: parts by key, in the ledger before they are asked for."""

    @property
    def project_id(self) -> str:
        """Whose they are."""
        ...

    @property
    def cluster_name(self) -> str:
        """For the sentences that people read."""
        ...

    async def ensure(self, kind: Kind, key: str, order: Ordered) -> str:
        """The part exists; returns the cloud's id. Another one is made when the last was lost or taken away."""
        ...

    async def known(self, key: str) -> str | None:
        """The cloud's id of the part that the ledger has; None when there is none."""
        ...

    async def lost(self, kind: Kind, key: str) -> None:
        """Somebody deleted it: forget it once the cloud confirms that; nothing happens when there is none."""
        ...

    async def take_away(self, key: str) -> None:
        """Delete it; returns when it is verified gone, raises RetryLater until then."""
        ...


class Endpoint(Protocol):
    """One kind of endpoint: what answers at the port's address and passes requests on to the controllers.

    Every method raises RetryLater while a change is under way, with a reason that says so.
    """

    async def ensure(self, parts: EndpointParts, port_id: str, *, established: bool) -> None:
        """All parts exist; those that somebody deleted are made again, on the same port.

        One that came up broken is made again only while nothing depends on it: `established` says whether anything
        does.
        """
        ...

    async def take_away(self, parts: EndpointParts) -> None:
        """Nothing of it holds the port any more."""
        ...

    async def members(self, parts: EndpointParts) -> tuple[MemberView, ...] | None:
        """Who is behind it; None when a part of it is not there and `ensure` has to come first."""
        ...

    async def set_members(self, parts: EndpointParts, members: Sequence[Member]) -> None:
        """Exactly these are behind it, in one change; what it takes begins with the return, see `settled`."""
        ...

    async def settled(self, parts: EndpointParts) -> None:
        """Returns when no change is under way."""
        ...


@dataclass(frozen=True)
class ClusterAccess:
    """How to reach one cluster's API: endpoint, its CA, and a credential that lives in memory only."""

    endpoint: str
    ca_pem: str
    certificate_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True)
class KubernetesNode:
    """A Node object, as far as the provisioner cares."""

    name: str
    provider_id: str | None
    ready: bool
    labels: dict[str, str]
    unschedulable: bool
    kubelet_version: str | None
    taints: tuple[dict[str, Any], ...] = ()
    """As the API has them."""
    kept: str | None = None
    """Which labels and taints are ours (domain.kubernetes_nodes.KEPT)."""
    version: str = ""
    """Of the object, by which a change in between is recognised."""


@dataclass(frozen=True)
class Eviction:
    """How far the drain of a node is."""

    remaining: int
    """Pods that still have to go."""
    refused: int
    """Of these, how many a PodDisruptionBudget keeps for now."""


class KubernetesApi(Protocol):
    """One cluster's Kubernetes API through its endpoint; RetryLater when it does not answer."""

    async def is_ready(self, access: ClusterAccess) -> bool:
        """Whether /readyz answers 200 through the endpoint; False also when nothing answers."""
        ...

    async def is_bound(self, access: ClusterAccess) -> bool:
        """Whether the services' own ClusterRoles and ClusterRoleBindings are exactly as `domain.bindings` says.

        False also when this access may not even look, which is what a missing binding of our own looks like.
        """
        ...

    async def ensure_bindings(self, access: ClusterAccess) -> None:
        """Make them so; needs the access of a system:masters."""
        ...

    async def nodes(self, access: ClusterAccess) -> tuple[KubernetesNode, ...]:
        """All Node objects."""
        ...

    async def keep_node(self, access: ClusterAccess, node: KubernetesNode, change: Upkeep) -> bool:
        """Change the Node as it was seen; False when it has changed since, or is gone: look again."""
        ...

    async def cordon(self, access: ClusterAccess, node_name: str, *, on: bool) -> None:
        """No new pods go to the node, or they do again; a Node that is not there is fine."""
        ...

    async def evict(self, access: ClusterAccess, node_name: str) -> Eviction:
        """Ask each pod of the node to go, but mirror pods and those of DaemonSets; PodDisruptionBudgets decide."""
        ...

    async def delete_node(self, access: ClusterAccess, node_name: str, provider_id: str | None) -> None:
        """The Node object with this name is gone; one with another providerID stays; not there is fine."""
        ...
