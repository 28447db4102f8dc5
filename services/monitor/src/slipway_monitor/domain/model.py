"""What the monitor looks at, in its own narrow terms, and the limits by which it judges."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from slipway_contracts.agent import EtcdObservation, Observation
from slipway_contracts.monitor import EtcdMembership, NodeHealth
from slipway_contracts.provisioner import NodePhase, NodeState
from slipway_contracts.values import Role

NOT_FOUND = "NOT_FOUND"
"""Our own status for a server that the cloud answered 404 for when asked by id."""

GONE_STATUSES = frozenset({"DELETED", "SOFT_DELETED", NOT_FOUND})
"""Nova lists deleted servers only when asked for changes."""

LEAVING = frozenset({NodePhase.REMOVING, NodePhase.REMOVED, NodePhase.REPLACING})
"""Phases in which Slipway itself takes the server away: what is seen of it then means nothing."""


@dataclass(frozen=True)
class Limits:
    """By when something counts as wrong. Settings carry the reasons."""

    lease_suspect: timedelta = timedelta(seconds=25)
    lease_dead: timedelta = timedelta(seconds=40)
    look_stale: timedelta = timedelta(seconds=25)
    agent_silent: timedelta = timedelta(seconds=60)
    peer_view_stale: timedelta = timedelta(seconds=45)
    join_grace: timedelta = timedelta(minutes=5)
    api_dead: timedelta = timedelta(seconds=30)
    refresh_unhealthy: timedelta = timedelta(seconds=10)
    look_every: timedelta = timedelta(seconds=10)
    nodes_every: timedelta = timedelta(seconds=30)
    look_joining: timedelta = timedelta(seconds=2)
    look_soonest: timedelta = timedelta(milliseconds=100)


@dataclass(frozen=True)
class ServerView:
    """One server as the cloud lists it."""

    server_id: str
    project_id: str
    status: str
    task_state: str | None
    updated: datetime | None
    cluster_id: str | None = None
    node_id: str | None = None
    fault: str | None = None

    @property
    def gone(self) -> bool:
        """Whether the cloud said positively that it does not exist any more."""
        return self.status in GONE_STATUSES

    @property
    def gone_for_sure(self) -> bool:
        """Whether the cloud lists it as deleted: one 404 may come from a wrong answer, this does not."""
        return self.gone and self.status != NOT_FOUND


@dataclass(frozen=True)
class CloudLook:
    """The newest good round over the region's servers, and what it knows of one cluster's."""

    at: datetime | None
    servers: Mapping[str, ServerView] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeView:
    """One Node object: its Ready condition and whose server it says it is."""

    name: str
    ready: bool | None
    detail: str
    provider_id: str | None = None


@dataclass(frozen=True)
class Beat:
    """One lease: what it says, and when the node was really heard by this reckoning."""

    renewed: datetime
    heard_at: datetime


@dataclass(frozen=True)
class ClusterLook:
    """One look into a cluster's Kubernetes API; `nodes` may be older than the leases."""

    at: datetime
    beats: Mapping[str, Beat]
    nodes: Mapping[str, NodeView]
    nodes_at: datetime


@dataclass(frozen=True)
class AgentView:
    """The newest observation that an agent pushed, and when it came."""

    received_at: datetime
    observation: Observation


@dataclass(frozen=True)
class Watched:
    """One node: what the provisioner says of it, and what the monitor concluded and said before."""

    state: NodeState
    said: NodeHealth | None = None
    ready_in: int | None = None
    announced_at: datetime | None = None

    @property
    def role(self) -> Role:
        """What the node does."""
        return self.state.row.role

    @property
    def incarnation(self) -> int:
        """The server that counts: the one that is there or being made; the row's may already ask for the next."""
        return self.state.incarnation or self.state.row.incarnation

    @property
    def was_ready(self) -> bool:
        """Whether this very server was healthy at least once."""
        return self.ready_in == self.incarnation

    @property
    def joined_at(self) -> datetime | None:
        """When this very server had its plan applied to the end."""
        joined, active = self.state.joined_at, self.state.active_at
        return joined if joined is not None and active is not None and joined >= active else None

    @property
    def leaving(self) -> bool:
        """Whether Slipway is taking the server away."""
        return self.state.phase in LEAVING

    @property
    def previous(self) -> NodeHealth | None:
        """What was said of this very server."""
        return self.said if self.said is not None and self.said.incarnation == self.incarnation else None


@dataclass(frozen=True)
class PeerView:
    """What the agent of one member of etcd says of the members, and when that came."""

    node_id: str
    at: datetime
    etcd: EtcdObservation


@dataclass(frozen=True)
class EtcdLook:
    """A cluster's etcd: the membership, once somebody told it, and the fresh views that it comes from."""

    membership: EtcdMembership | None
    views: tuple[PeerView, ...]


@dataclass(frozen=True)
class Sight:
    """Everything that can be seen of one cluster now."""

    now: datetime
    kubernetes: ClusterLook | None
    cloud: CloudLook
    agents: Mapping[str, AgentView]
    listening_since: datetime
    others_heard_at: Mapping[str, datetime | None]
    """By node: when an agent of any other node of the region was heard last."""
    etcd: EtcdLook = EtcdLook(None, ())
