"""Builders of the healer's values, and a stage: the other services as far as the healer sees them.

`Stage` is stateful: it takes the node tables that the healer publishes, and makes the nodes of them as a provisioner
would; the monitor's and addon manager's words are put in by hand. A test moves time and asks what the healer did.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway_contracts.healer import Hold, NodeRow, Wanted
from slipway_contracts.monitor import (
    EtcdMemberHealth,
    EtcdMembership,
    NodeHealth,
    RegionTrust,
    Verdict,
    Witness,
    WitnessName,
)
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.testing import a_pool_spec
from slipway_contracts.values import Role
from slipway_healer.domain.healing import decide
from slipway_healer.domain.model import Cluster, Decision, Memory, Node, Policy, Pool, Region
from slipway_healer.domain.rows import Names, changed, minted, row_of

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
LONG_AGO = BEGIN - timedelta(hours=2)
POLICY = Policy()


def a_pool(role: Role = Role.WORKER, count: int = 3, memory: Memory | None = None, **changes: Any) -> Pool:
    """A pool."""
    return Pool(a_pool_spec(role, count, **changes), memory or Memory())


def a_node(name: str = "w1", role: Role = Role.WORKER, **changes: Any) -> Node:
    """A node without report or health, minted two hours ago; whatever is reported of it is confirmed by a list."""
    pool = a_pool_spec(role)
    node = Node(
        node_id=name,
        cluster_id="c1",
        pool_id=pool.pool_id,
        name=name,
        role=role,
        zone=None,
        spec=pool.node_spec,
        decided_at=LONG_AGO,
        valid_until=LONG_AGO + timedelta(minutes=2),
        minted_at=LONG_AGO,
        incarnation_at=LONG_AGO,
        listed_at=BEGIN + timedelta(days=1),
    )
    return replace(node, **changes)


def reported(node: Node, **changes: Any) -> Node:
    """The node as the provisioner reports it: provisioned, its server active, unless changed."""
    report = NodeState(
        cluster_id=node.cluster_id,
        pool_id=node.pool_id,
        node_id=node.node_id,
        row=row_of(node),
        incarnation=node.incarnation,
        phase=NodePhase.PROVISIONED,
        since=node.incarnation_at,
        server_state=ServerState.ACTIVE,
        server_id=f"server-{node.name}-{node.incarnation}",
        active_at=node.incarnation_at + timedelta(seconds=20),
        joined_at=node.incarnation_at + timedelta(seconds=60),
        percent=100,
        plan_revision=1,
        applied_revision=1,
        created_at=node.minted_at,
    ).model_copy(update=changes)
    return replace(node, report=report, ever_joined=node.ever_joined or report.joined_at is not None)


def a_witness(name: WitnessName, verdict: Verdict, since: datetime = LONG_AGO, at: datetime = BEGIN) -> Witness:
    """What one witness says."""
    return Witness(name=name, verdict=verdict, saw=f"{name.value} says {verdict.value}", since=since, at=at)


def witnessed(node: Node, since: datetime = LONG_AGO, at: datetime = BEGIN, **verdicts: Verdict) -> Node:
    """The node as these witnesses see it: `witnessed(node, kubernetes=Verdict.HEALTHY)`."""
    witnesses = tuple(a_witness(WitnessName(name), verdict, since, at) for name, verdict in verdicts.items())
    bad = any(each.verdict is Verdict.UNHEALTHY for each in witnesses)
    health = NodeHealth(
        cluster_id=node.cluster_id,
        pool_id=node.pool_id,
        node_id=node.node_id,
        incarnation=node.incarnation,
        verdict=Verdict.UNHEALTHY if bad else Verdict.HEALTHY,
        since=since,
        witnesses=witnesses,
    )
    return replace(node, health=health)


def a_well_node(name: str = "w1", role: Role = Role.WORKER, **changes: Any) -> Node:
    """A node that works, and everybody says so."""
    node = reported(a_node(name, role, **changes))
    if role is Role.ETCD:
        return witnessed(node, server=Verdict.HEALTHY, agent=Verdict.HEALTHY, etcd_peers=Verdict.HEALTHY)
    return witnessed(node, kubernetes=Verdict.HEALTHY, server=Verdict.HEALTHY, agent=Verdict.HEALTHY)


def dead(node: Node, since: datetime = LONG_AGO, at: datetime = BEGIN) -> Node:
    """The node's machine stopped: its part in the cluster and its agent are lost, the cloud calls it ACTIVE."""
    main = "etcd_peers" if node.role is Role.ETCD else "kubernetes"
    verdicts = {main: Verdict.UNHEALTHY, "agent": Verdict.UNHEALTHY, "server": Verdict.HEALTHY}
    return witnessed(node, since, at, **verdicts)


def gone(node: Node) -> Node:
    """The cloud positively reports the node's server gone."""
    assert node.report is not None, "a node without a report has no server"
    return replace(node, report=node.report.model_copy(update={"server_state": ServerState.GONE}))


def build_failed(node: Node, **changes: Any) -> Node:
    """The node's server is in ERROR before it joined."""
    return reported(
        node,
        phase=NodePhase.FAILED,
        server_state=ServerState.ERROR,
        active_at=None,
        joined_at=None,
        percent=10,
        **changes,
    )


def a_cluster(*nodes: Node, hold: Hold = Hold.NONE, listed: bool = True, etcd: EtcdMembership | None = None) -> Cluster:
    """A cluster of these nodes."""
    return Cluster("c1", "demo", hold, listed, nodes, etcd)


def a_member(number: int, node_id: str | None, *, healthy: bool = True) -> EtcdMemberHealth:
    """A member of etcd, as the monitor tells of it."""
    return EtcdMemberHealth(
        member_id=f"{number:016x}",
        name=node_id or "",
        peer_url=f"https://10.0.0.{number}:2380",
        node_id=node_id,
        healthy=healthy,
        seen_unhealthy_by=0 if healthy else 2,
        seen_by=2,
    )


def a_membership(*voters: EtcdMemberHealth, learners: Sequence[EtcdMemberHealth] = ()) -> EtcdMembership:
    """The members of cluster c1's etcd."""
    return EtcdMembership(cluster_id="c1", voters=voters, learners=tuple(learners), since=BEGIN)


def a_trust(at: datetime = BEGIN, *, trusted: bool = True, unseen: Sequence[str] = ()) -> RegionTrust:
    """A round of observations."""
    return RegionTrust(region="tokyo", round_finished_at=at, trusted=trusted, clusters_unseen=tuple(unseen))


def a_region(trust: RegionTrust | None = None, tokens: int = 20, at: datetime = BEGIN) -> Region:
    """A region that is trusted and has budget, unless said otherwise."""
    return Region(trust or a_trust(at), tokens, at + timedelta(seconds=6))


def decided(
    pool: Pool,
    nodes: Sequence[Node],
    *,
    others: Sequence[Node] = (),
    region: Region | None = None,
    hold: Hold = Hold.NONE,
    listed: bool = True,
    policy: Policy = POLICY,
    etcd: EtcdMembership | None = None,
) -> Decision:
    """What is decided of this pool at BEGIN, in a trusted region and without a hold unless said otherwise."""
    cluster = a_cluster(*nodes, *others, hold=hold, listed=listed, etcd=etcd)
    return decide(pool, nodes, cluster, region or a_region(), policy, BEGIN)


def described(decision: Decision) -> list[str]:
    """What a decision does and refuses, in short: `remove w1`, `make for w1`, `refuse w2 at blast_radius`."""
    made = [f"make for {mint.replaces}" if mint.replaces else "make" for mint in decision.mint]
    changes = [f"{change.action.value} {change.node_id}" for change in decision.changes]
    refused = [f"refuse {refusal.node_id or 'pool'} at {refusal.gate.value}" for refusal in decision.refusals]
    return [*changes, *made, *refused]


def applied(
    decision: Decision, pool: Pool, nodes: Sequence[Node], now: datetime, source: random.Random, policy: Policy = POLICY
) -> list[Node]:
    """The pool's nodes after the decision."""
    after = {node.node_id: node for node in nodes}
    for change in decision.changes:
        after[change.node_id] = changed(after[change.node_id], change, pool.spec, policy, now)
    names = Names(source, lambda: f"n{source.getrandbits(40):010x}", [node.name for node in nodes])
    new = [minted(mint, pool.spec, "c1", "demo", names, policy, now) for mint in decision.mint]
    return [*after.values(), *new]


def provisioned(row: NodeRow, cluster_id: str, now: datetime, **changes: Any) -> NodeState:
    """What a provisioner says of a row of the node table once the node works."""
    state = NodeState(
        cluster_id=cluster_id,
        pool_id=row.pool_id,
        node_id=row.node_id,
        row=row,
        incarnation=row.incarnation,
        phase=NodePhase.PROVISIONED,
        since=now,
        server_state=ServerState.ACTIVE,
        server_id=f"server-{row.name}-{row.incarnation}",
        active_at=now,
        joined_at=now,
        percent=100,
        plan_revision=1,
        applied_revision=1,
        created_at=now,
    )
    if row.wanted is Wanted.REMOVED:
        state = state.model_copy(update={"phase": NodePhase.REMOVED, "server_state": ServerState.NONE})
    return state.model_copy(update=changes)
