"""What is wrong with one node: the gates "two witnesses" and "long enough" of design §6.

`diagnose` is pure. It says gone, failed, never joined or dead only when that may be acted upon; short of that it says
doubtful, and which gate keeps the healer back.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from slipway_contracts.api import HealthPolicy
from slipway_contracts.healer import Gate
from slipway_contracts.monitor import Verdict, Witness, WitnessName
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.values import Mover, Reason
from slipway_healer.domain import reasons
from slipway_healer.domain.model import SERVER_ON_ITS_WAY, Node, Policy

Inputs = dict[str, str | int | float | bool | None]


class Condition(StrEnum):
    """What a node is found to be."""

    WELL = "well"
    COMING = "coming"
    UNSEEN = "unseen"
    DOUBTFUL = "doubtful"
    FAILED = "failed"
    NEVER_JOINED = "never_joined"
    GONE = "gone"
    DEAD = "dead"


ILL = (Condition.FAILED, Condition.NEVER_JOINED, Condition.GONE, Condition.DEAD)
"""Conditions that call for a remedy."""


CONFIRMED_WITHIN = timedelta(seconds=30)
"""Until the provisioner is asked for its list again."""


@dataclass(frozen=True)
class Diagnosis:
    """The finding, its reason, and for a doubtful one the gate and the time at which it may be surer."""

    condition: Condition
    reason: Reason | None = None
    gate: Gate | None = None
    look_again_at: datetime | None = None
    inputs: Inputs = field(default_factory=dict)

    @property
    def is_ill(self) -> bool:
        """Whether a remedy is called for."""
        return self.condition in ILL


def diagnose(node: Node, health: HealthPolicy, policy: Policy, now: datetime) -> Diagnosis:
    """Say what the node is, from the provisioner's report and the monitor's witnesses."""
    report = node.accepted
    if report is None:
        return Diagnosis(Condition.COMING)
    if _is_gone(report):
        return Diagnosis(Condition.GONE, reasons.gone(), inputs=_inputs(node))
    if not node.joined:
        return _diagnose_joining(node, report, health, now)
    return _diagnose_joined(node, report, health, policy, now)


def is_bad(node: Node) -> bool:
    """Whether a node that once worked does not: what the blast radius counts. Unknown is not bad."""
    if not node.ever_joined or not node.is_present:
        return False
    if node.accepted is not None and _is_gone(node.accepted):
        return True
    main = node.main_witness
    return main is not None and main.verdict is Verdict.UNHEALTHY


def loss_confirmed(node: Node) -> bool:
    """Whether the cloud itself says that the server does not run."""
    report = node.accepted
    return report is not None and report.server_state in (ServerState.GONE, ServerState.ERROR, ServerState.STOPPED)


def _is_gone(report: NodeState) -> bool:
    return report.server_state is ServerState.GONE and report.phase not in SERVER_ON_ITS_WAY


def _diagnose_joining(node: Node, report: NodeState, health: HealthPolicy, now: datetime) -> Diagnosis:
    inputs = _inputs(node)
    if report.phase in SERVER_ON_ITS_WAY:
        return Diagnosis(Condition.COMING, inputs=inputs)
    build_failed = report.phase is NodePhase.FAILED and report.active_at is None
    if report.server_state is ServerState.ERROR or build_failed:
        return Diagnosis(Condition.FAILED, reasons.failed(report.cause), inputs=inputs)
    if report.active_at is None:
        return Diagnosis(Condition.COMING, inputs=inputs)
    if report.waiting is not None and report.waiting.whose_move is Mover.NOBODY:
        # it waits for other nodes, and that time does not count against it
        return Diagnosis(Condition.COMING, inputs=inputs)
    deadline = _join_deadline(node, report, report.active_at, health)
    if now < deadline:
        return Diagnosis(Condition.COMING, look_again_at=deadline, inputs=inputs)
    if node.listed_at is None or node.listed_at < deadline:
        # that it joined may have been said, and the message lost: only a list from after the deadline tells
        return _doubt(node, Gate.LISTED, reasons.not_confirmed(), now + CONFIRMED_WITHIN)
    reason = reasons.never_joined(health.never_joined_after, report.cause or report.waiting)
    return Diagnosis(Condition.NEVER_JOINED, reason, inputs=inputs)


def is_unconfirmed(node: Node, health: HealthPolicy, policy: Policy, now: datetime) -> bool:
    """Whether only a newer list of the provisioner can tell that the node really never joined."""
    return node.is_present and diagnose(node, health, policy, now).gate is Gate.LISTED


def _join_deadline(node: Node, report: NodeState, active_at: datetime, health: HealthPolicy) -> datetime:
    # an older server's start does not count against this one
    began = max(active_at, node.incarnation_at)
    return began + health.never_joined_after + timedelta(seconds=report.waited_for_others)


def _diagnose_joined(node: Node, report: NodeState, health: HealthPolicy, policy: Policy, now: datetime) -> Diagnosis:
    if node.observed is None:
        return Diagnosis(Condition.UNSEEN)
    main = node.main_witness
    against = [each for each in node.independent_witnesses if each.verdict is Verdict.UNHEALTHY]
    if main is not None and main.verdict is Verdict.UNHEALTHY and against:
        return _diagnose_agreed(node, report, main, against, health, policy, now)
    if main is not None and main.verdict is Verdict.UNHEALTHY:
        return _doubt(node, Gate.WITNESSES, reasons.one_witness(main.saw), now + policy.look_again)
    if against and (main is None or main.verdict is Verdict.UNKNOWN):
        why = f"{against[0].saw}, but {_missing_view(node, main)}"
        return _doubt(node, Gate.KNOWN, reasons.not_known(why), now + policy.look_again)
    if against:
        return _doubt(node, Gate.WITNESSES, reasons.one_witness(against[0].saw), now + policy.look_again)
    return Diagnosis(Condition.WELL if node.is_ready else Condition.UNSEEN)


def _diagnose_agreed(
    node: Node,
    report: NodeState,
    main: Witness,
    against: list[Witness],
    health: HealthPolicy,
    policy: Policy,
    now: datetime,
) -> Diagnosis:
    soon = now + policy.look_again
    working = (ServerState.WORKING, ServerState.BUILDING, ServerState.DELETING)
    if report.server_state in working:
        why = f"the cloud is working on the server ({report.server_state.value})"
        return _doubt(node, Gate.KNOWN, reasons.not_known(why), soon)
    fresh = [each for each in against if now - each.at <= policy.witness_fresh_for]
    if not fresh or now - main.at > policy.witness_fresh_for:
        why = f"the witnesses last looked more than {policy.witness_fresh_for.total_seconds():.0f} s ago"
        return _doubt(node, Gate.KNOWN, reasons.not_known(why), soon)
    ripe_at = main.since + health.unready_after
    if now < ripe_at:
        return _doubt(node, Gate.PATIENCE, reasons.not_yet(main.saw, ripe_at), ripe_at)
    return Diagnosis(Condition.DEAD, reasons.dead(main.saw, fresh[0].saw), inputs=_inputs(node))


def _doubt(node: Node, gate: Gate, reason: Reason, look_again_at: datetime) -> Diagnosis:
    return Diagnosis(Condition.DOUBTFUL, reason, gate, look_again_at, _inputs(node))


def _missing_view(node: Node, main: Witness | None) -> str:
    if main is not None:
        return main.saw
    return "the other etcd members did not say" if node.role.value == "etcd" else "Kubernetes did not say"


def _inputs(node: Node) -> Inputs:
    report = node.report
    inputs: Inputs = {"node": node.name, "incarnation": node.incarnation}
    if report is not None:
        inputs |= {"phase": report.phase.value, "server": report.server_state.value}
    for name in WitnessName:
        witness = node.witness(name)
        if witness is not None:
            inputs |= {f"{name.value}": witness.verdict.value, f"{name.value}_since": witness.since.isoformat()}
    return inputs
