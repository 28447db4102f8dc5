"""What the monitor owns: observations, conditions and alerts."""

from enum import StrEnum

from pydantic import Field

from slipway_contracts.agent import EtcdMemberId
from slipway_contracts.envelope import Body, Event
from slipway_contracts.values import Id, Instant, Reason, Value


class Verdict(StrEnum):
    """What one witness says; unknown is not unhealthy."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


class WitnessName(StrEnum):
    """Who saw it."""

    KUBERNETES = "kubernetes"
    SERVER = "server"
    AGENT = "agent"
    ETCD_PEERS = "etcd_peers"


class Witness(Value):
    """One witness: what it saw, since when, and when it last looked."""

    name: WitnessName
    verdict: Verdict
    saw: str = Field(description="one sentence, in the witness's own terms")
    since: Instant
    at: Instant = Field(description="the last look; changes of this alone are not announced")


class NodeHealth(Body):
    """The health of one node, witness by witness."""

    cluster_id: Id
    pool_id: Id
    node_id: Id
    incarnation: int = Field(ge=1, description="the server that was observed")
    verdict: Verdict
    since: Instant
    witnesses: tuple[Witness, ...]


class NodeReady(Event[NodeHealth], noun="node", verb="ready", owner="monitor"):
    """The node became healthy for the first time in this incarnation."""


class NodeUnhealthy(Event[NodeHealth], noun="node", verb="unhealthy", owner="monitor"):
    """At least one witness sees the node unhealthy; or what the witnesses say changed while it is."""


class NodeRecovered(Event[NodeHealth], noun="node", verb="recovered", owner="monitor"):
    """No witness sees the node unhealthy any more."""


class NodeForgotten(Event[NodeHealth], noun="node", verb="forgotten", owner="monitor", ends=True):
    """The node was removed; nothing is observed of it any more."""


class ClusterHealth(Body):
    """The health of one cluster as its Kubernetes API shows it through the endpoint."""

    cluster_id: Id
    verdict: Verdict
    since: Instant
    reasons: tuple[Reason, ...] = ()
    nodes_ready: int = Field(default=0, ge=0)
    nodes_total: int = Field(default=0, ge=0)


class ClusterUnhealthy(Event[ClusterHealth], noun="cluster", verb="unhealthy", owner="monitor"):
    """The cluster's API does not answer, or its nodes are in trouble."""


class ClusterRecovered(Event[ClusterHealth], noun="cluster", verb="recovered", owner="monitor"):
    """The cluster is well, for the first time or again."""


class ClusterForgotten(Event[ClusterHealth], noun="cluster", verb="forgotten", owner="monitor", ends=True):
    """The cluster was deleted; nothing is observed of it any more."""


class EtcdMemberHealth(Value):
    """One member of a cluster's etcd, as the members' agents see it."""

    member_id: EtcdMemberId
    name: str = Field(description="as the member publishes it; empty while it never started")
    peer_url: str
    node_id: Id | None = Field(default=None, description="the node that it belongs to, where one is known")
    healthy: bool = Field(
        description="most of the others who looked lately saw it so, or, where none did, its own agent does"
    )
    seen_unhealthy_by: int = Field(default=0, ge=0, description="other members' agents that cannot reach it")
    seen_by: int = Field(default=0, ge=0, description="other members' agents that looked at it lately")


class EtcdMembership(Body):
    """The members of a cluster's etcd, as most of the agents that were heard lately list them."""

    cluster_id: Id
    voters: tuple[EtcdMemberHealth, ...]
    learners: tuple[EtcdMemberHealth, ...] = ()
    leader_id: EtcdMemberId | None = None
    since: Instant = Field(description="when it became so")


class EtcdMembershipChanged(Event[EtcdMembership], noun="etcd", verb="membership_changed", owner="monitor"):
    """Members, their health or the leader changed; said on a change only."""


class EtcdMembershipForgotten(
    Event[EtcdMembership], noun="etcd", verb="membership_forgotten", owner="monitor", ends=True
):
    """The cluster was deleted; nothing is observed of its etcd any more."""


class RegionTrust(Body):
    """Whether what is seen of a region may be acted upon."""

    region: str
    round_finished_at: Instant
    trusted: bool
    suspicions: tuple[Reason, ...] = ()
    clusters_unseen: tuple[Id, ...] = Field(default=(), description="clusters that the last round did not reach")


class RegionObserved(Event[RegionTrust], noun="region", verb="observed", owner="monitor"):
    """A round of observations ended; every ten seconds."""


class AlertName(StrEnum):
    """What alerts there are."""

    LONG_NODE_PROVISIONING = "LongNodeProvisioning"
    LONG_CLUSTER_PROVISIONING = "LongClusterProvisioning"
    UNHEALTHY_NODE_CONDITION = "UnhealthyNodeCondition"
    UNHEALTHY_CLUSTER_CONDITION = "UnhealthyClusterCondition"


class Severity(StrEnum):
    """How urgent an alert is."""

    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Body):
    """One alert and what it is about."""

    alert_id: Id
    name: AlertName
    severity: Severity
    cluster_id: Id | None = None
    node_id: Id | None = None
    message: str
    raised_at: Instant
    resolved_at: Instant | None = None


class AlertRaised(Event[Alert], noun="alert", verb="raised", owner="monitor"):
    """Somebody should look."""


class AlertResolved(Event[Alert], noun="alert", verb="resolved", owner="monitor", ends=True):
    """The cause of the alert is gone."""
