"""Which alerts there should be: a condition that lasts longer than its limit; resolved when the condition ends."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import Wanted
from slipway_contracts.monitor import AlertName, ClusterHealth, Severity, Verdict
from slipway_monitor.domain.verdict import NodeFinding


@dataclass(frozen=True)
class AlertLimits:
    """How long each condition may last."""

    node_provisioning: timedelta = timedelta(minutes=10)
    cluster_provisioning: timedelta = timedelta(minutes=20)
    node_unhealthy: timedelta = timedelta(minutes=5)
    cluster_unhealthy: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Condition:
    """Something that should not last: its alert, what it is about, since when, by when it is an alert."""

    name: AlertName
    node_id: str | None
    since: datetime
    limit: timedelta
    severity: Severity
    message: str

    @property
    def key(self) -> str:
        """One open alert for each."""
        return f"{self.name.value}/{self.node_id or 'cluster'}"


@dataclass(frozen=True)
class AlertDecision:
    """What to raise, and the keys of what to resolve."""

    raises: tuple[Condition, ...]
    resolves: tuple[str, ...]


def decide_alerts(conditions: Sequence[Condition], open_keys: Collection[str], now: datetime) -> AlertDecision:
    """Raise what lasts longer than its limit and is not open; resolve what is open and no condition any more."""
    current = {condition.key for condition in conditions}
    raises = tuple(each for each in conditions if each.key not in open_keys and now - each.since > each.limit)
    return AlertDecision(raises, tuple(sorted(key for key in open_keys if key not in current)))


def conditions_of(
    spec: ClusterSpec | None,
    nodes: Sequence[NodeFinding],
    cluster: ClusterHealth,
    *,
    ever_well: bool,
    limits: AlertLimits,
) -> list[Condition]:
    """All conditions of one cluster; none once its deletion was asked for."""
    if spec is not None and spec.deletion_requested_at is not None:
        return []
    found = [each for finding in nodes for each in _of_node(finding, limits)]
    if spec is not None and not ever_well:
        found.append(
            Condition(
                AlertName.LONG_CLUSTER_PROVISIONING,
                None,
                spec.created_at,
                limits.cluster_provisioning,
                Severity.WARNING,
                f"Cluster {spec.name} is being created since {spec.created_at:%Y-%m-%d %H:%M:%S} UTC: "
                f"{cluster.nodes_ready} of {cluster.nodes_total} nodes are ready",
            )
        )
    if ever_well and cluster.verdict is Verdict.UNHEALTHY:
        why = "; ".join(reason.message for reason in cluster.reasons)
        found.append(
            Condition(
                AlertName.UNHEALTHY_CLUSTER_CONDITION,
                None,
                cluster.since,
                limits.cluster_unhealthy,
                Severity.CRITICAL,
                f"Cluster {spec.name if spec else cluster.cluster_id} is unhealthy: {why}",
            )
        )
    return found


def _of_node(finding: NodeFinding, limits: AlertLimits) -> list[Condition]:
    node, state = finding.node, finding.node.state
    if node.leaving or state.row.wanted is Wanted.REMOVED:
        return []
    health = finding.lasting
    if health.verdict is Verdict.UNHEALTHY:
        saw = "; ".join(each.saw for each in health.witnesses if each.verdict is Verdict.UNHEALTHY)
        return [
            Condition(
                AlertName.UNHEALTHY_NODE_CONDITION,
                state.node_id,
                health.since,
                limits.node_unhealthy,
                Severity.WARNING,
                f"Node {state.row.name} is unhealthy: {saw}",
            )
        ]
    if node.was_ready or health.verdict is Verdict.HEALTHY:
        return []
    since = state.created_at if node.incarnation == 1 else max(state.created_at, state.row.decided_at)
    waiting = state.cause or state.waiting
    why = f": {waiting.message}" if waiting else ""
    return [
        Condition(
            AlertName.LONG_NODE_PROVISIONING,
            state.node_id,
            since,
            limits.node_provisioning,
            Severity.WARNING,
            f"Node {state.row.name} is being made since {since:%Y-%m-%d %H:%M:%S} UTC{why}",
        )
    ]
