"""What follows from the witnesses: a node's and a cluster's health, and whether it is worth saying.

An UNKNOWN verdict is never announced: that nobody could look is no fact about a node. The region's round says which
clusters it did not see, and the times in the last announcement say how old it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from slipway_contracts.envelope import Event
from slipway_contracts.monitor import (
    ClusterHealth,
    ClusterRecovered,
    ClusterUnhealthy,
    NodeHealth,
    NodeReady,
    NodeRecovered,
    NodeUnhealthy,
    Verdict,
    Witness,
    WitnessName,
)
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Mover, Reason, Role
from slipway_monitor.domain.model import ClusterLook, Limits, Sight, Watched
from slipway_monitor.domain.witnesses import witnesses_of

WAITING_SHARE = 0.25
"""A joining node is looked at again after a quarter of the time that it already takes: soon, but not for ever."""

JOINING = frozenset({NodePhase.CONFIGURING, NodePhase.PROVISIONED})

EventClass = type[Event[Any]]


@dataclass(frozen=True)
class NodeFinding:
    """What is now known of a node, and the event to say it with, if it is worth saying."""

    node: Watched
    health: NodeHealth
    event: EventClass | None

    @property
    def lasting(self) -> NodeHealth:
        """The newest definite health: what was said last, while nobody can tell."""
        said = self.node.previous
        return said if self.health.verdict is Verdict.UNKNOWN and said is not None else self.health


@dataclass(frozen=True)
class ClusterFinding:
    """As NodeFinding, of a cluster."""

    health: ClusterHealth
    event: EventClass | None


def judge_node(node: Watched, sight: Sight, limits: Limits) -> NodeFinding:
    """The node's health from all witnesses: unhealthy if one says so, healthy if the one that matters does."""
    witnesses = witnesses_of(node, sight, limits)
    verdict = _overall(node.role, witnesses)
    said = node.previous
    since = said.since if said is not None and said.verdict is verdict else sight.now
    health = NodeHealth(
        cluster_id=node.state.cluster_id,
        pool_id=node.state.pool_id,
        node_id=node.state.node_id,
        incarnation=node.incarnation,
        verdict=verdict,
        since=since,
        witnesses=witnesses,
    )
    return NodeFinding(node, health, _event(node, health, sight.now, limits))


def _overall(role: Role, witnesses: Sequence[Witness]) -> Verdict:
    if any(witness.verdict is Verdict.UNHEALTHY for witness in witnesses):
        return Verdict.UNHEALTHY
    decisive = WitnessName.AGENT if role is Role.ETCD else WitnessName.KUBERNETES
    if any(witness.name is decisive and witness.verdict is Verdict.HEALTHY for witness in witnesses):
        return Verdict.HEALTHY
    return Verdict.UNKNOWN


def _event(node: Watched, health: NodeHealth, now: datetime, limits: Limits) -> EventClass | None:
    said = node.previous
    if node.leaving or health.verdict is Verdict.UNKNOWN:
        return None
    if health.verdict is Verdict.HEALTHY:
        if not node.was_ready:
            return NodeReady
        return NodeRecovered if said is None or said.verdict is not Verdict.HEALTHY else None
    if said is None or said.verdict is not Verdict.UNHEALTHY or _meaning(said) != _meaning(health):
        return NodeUnhealthy
    due = node.announced_at is None or now - node.announced_at >= limits.refresh_unhealthy
    return NodeUnhealthy if due and _looked(health) > _looked(said) else None


def _meaning(health: NodeHealth) -> list[tuple[str, str, str]]:
    return [(witness.name.value, witness.verdict.value, witness.saw) for witness in health.witnesses]


def _looked(health: NodeHealth) -> datetime:
    return max(witness.at for witness in health.witnesses)


@dataclass(frozen=True)
class Reached:
    """Whether the cluster's API was reached: when last, and why not since."""

    expected: bool
    last_at: datetime | None
    failing_since: datetime | None = None
    cause: str = ""


def judge_cluster(
    cluster_id: str,
    nodes: Sequence[NodeFinding],
    reached: Reached,
    said: ClusterHealth | None,
    now: datetime,
    limits: Limits,
) -> ClusterFinding:
    """The cluster's health: its API answers, and of no role are too many nodes in trouble."""
    counted = [each for each in nodes if not each.node.leaving]
    reasons = _reasons(counted, reached, now, limits)
    verdict = Verdict.UNHEALTHY if reasons else Verdict.HEALTHY
    if not reached.expected or (not reasons and (reached.last_at is None or reached.failing_since is not None)):
        verdict, reasons = Verdict.UNKNOWN, ()
    health = ClusterHealth(
        cluster_id=cluster_id,
        verdict=verdict,
        since=said.since if said is not None and said.verdict is verdict else now,
        reasons=reasons,
        nodes_ready=sum(each.lasting.verdict is Verdict.HEALTHY for each in counted),
        nodes_total=len(counted),
    )
    if verdict is Verdict.UNKNOWN or health == said:
        return ClusterFinding(health, None)
    return ClusterFinding(health, ClusterUnhealthy if verdict is Verdict.UNHEALTHY else ClusterRecovered)


def _reasons(nodes: Sequence[NodeFinding], reached: Reached, now: datetime, limits: Limits) -> tuple[Reason, ...]:
    found = []
    if reached.failing_since is not None and now - reached.failing_since > limits.api_dead:
        since = reached.failing_since.strftime("%Y-%m-%dT%H:%M:%SZ")
        found.append(_reason("ApiUnreachable", f"The Kubernetes API has not answered since {since}: {reached.cause}"))
    for role in Role:
        of_role = [each for each in nodes if each.node.role is role and each.node.was_ready]
        bad = sum(each.lasting.verdict is Verdict.UNHEALTHY for each in of_role)
        if _too_many(role, bad, len(of_role)):
            found.append(_reason(f"{role.value.capitalize()}NodesUnhealthy", f"{bad} of {len(of_role)} are unhealthy"))
    return tuple(found)


def _too_many(role: Role, bad: int, total: int) -> bool:
    if bad == 0:
        return False
    if role is Role.WORKER:
        return bad == total or bad > max(1, total // 5)
    return bad > (total - 1) // 2


def _reason(code: str, message: str) -> Reason:
    return Reason(code=code, message=message[:2000], whose_move=Mover.SLIPWAY)


def is_joining(node: Watched) -> bool:
    """Whether the node may become ready at any moment."""
    if node.state.phase is NodePhase.REBOOTING:
        return True
    return not node.was_ready and node.state.phase in JOINING


def next_look(nodes: Sequence[Watched], sight: Sight, limits: Limits) -> timedelta:
    """When to look at the cluster again: soon while nodes join, and at the moment a silent lease would be dead."""
    wait = limits.look_every
    for node in nodes:
        age = sight.now - node.state.since
        if is_joining(node) and age < limits.join_grace:
            wait = min(wait, max(age * WAITING_SHARE, limits.look_soonest), limits.look_joining)
    look = sight.kubernetes
    for beat in look.beats.values() if look else ():
        silent = sight.now - beat.heard_at
        if limits.lease_suspect < silent <= limits.lease_dead:
            wait = min(wait, limits.lease_dead - silent + limits.look_soonest)
    return wait


def lists_nodes(nodes: Sequence[Watched], look: ClusterLook, now: datetime, limits: Limits) -> bool:
    """Whether this look needs the Node objects too: while a node joins, a lease is late or a node is not Ready."""
    if now - look.nodes_at >= limits.nodes_every or any(is_joining(node) for node in nodes):
        return True
    if any(view.ready is not True for view in look.nodes.values()) or look.nodes.keys() != look.beats.keys():
        return True
    return any(now - beat.heard_at > limits.lease_suspect for beat in look.beats.values())
