"""How a change of etcd's membership goes on, and who makes it (design §5). Pure.

The agent of a member that is well removes what had the place before, adds a learner for the new server, and promotes
it when it is in sync: three calls in two steps of that node's plan, between which the new server's etcd is started.
"""

from collections.abc import Iterable
from enum import StrEnum

from slipway_contracts.agent import StepReport
from slipway_contracts.provisioner import StepState

MEMBER_MISSING = "EtcdMemberMissing"
"""The agent's code for: etcd does not know the learner any more."""


class Outcome(StrEnum):
    """What follows from what the helping agent said."""

    STAY = "stay"
    ADDED = "added"
    PROMOTED = "promoted"
    MISSING = "missing"
    """The learner was removed by somebody: it has to be added again."""
    ANOTHER = "another"
    """Another member's agent should try."""


def decide_outcome(report: StepReport | None, *, adding: bool, fit: bool, silent: bool) -> Outcome:
    """Where the change is: `report` is of its step in the helper's present plan, `fit` whether it can still help."""
    if report is not None and report.state is StepState.DONE and report.result:
        return Outcome.ADDED if adding else Outcome.PROMOTED
    if report is not None and report.state is StepState.FAILED:
        return Outcome.MISSING if report.code == MEMBER_MISSING and not adding else Outcome.ANOTHER
    return Outcome.ANOTHER if silent or not fit else Outcome.STAY


def next_helper(fit: Iterable[str], present: str | None) -> str | None:
    """The next in turn after the present helper of the nodes that can help; None when there is none."""
    candidates = sorted(fit)
    later = [node_id for node_id in candidates if present is not None and node_id > present]
    return next(iter(later or candidates), None)
