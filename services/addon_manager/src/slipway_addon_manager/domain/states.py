"""What is said of one addon in one cluster, as a function of what was said before and what happened. Pure.

pending      the control plane does not answer yet
installing   its objects are being applied for the first time
outdated     another definition is wanted than the one installed
installed    its objects are in the cluster as defined; its pods may take a while
degraded     it cannot be applied, or its pods are not available for longer than they may take
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway_addon_manager.domain.model import WorkloadStatus
from slipway_contracts.addon_manager import (
    AddonChanged,
    AddonDegraded,
    AddonInstalled,
    AddonOutdated,
    AddonPhase,
    AddonRemoved,
    AddonState,
    AddonUpdated,
)
from slipway_contracts.envelope import Event
from slipway_contracts.values import Mover, Reason

WAITING = Reason(
    code="WaitingForControlPlane",
    message="The cluster's Kubernetes API does not answer through its endpoint yet",
    whose_move=Mover.SLIPWAY,
)
UNAVAILABLE = "PodsUnavailable"

_EVENTS: dict[AddonPhase, type[Event[AddonState]]] = {
    AddonPhase.PENDING: AddonChanged,
    AddonPhase.INSTALLING: AddonChanged,
    AddonPhase.OUTDATED: AddonOutdated,
    AddonPhase.INSTALLED: AddonInstalled,
    AddonPhase.DEGRADED: AddonDegraded,
    AddonPhase.REMOVED: AddonRemoved,
}


@dataclass(frozen=True)
class Progress:
    """One addon in one cluster: what is said of it, and what is only remembered."""

    state: AddonState
    applied_at: datetime | None = None
    """When all its objects were last applied; None: they must be, at the next look."""
    unavailable_since: datetime | None = None
    """Since when some of its pods have been missing."""

    @property
    def is_installed(self) -> bool:
        """Whether the wanted definition is in the cluster."""
        return self.state.installed_version == self.state.wanted_version


def begin(cluster_id: str, addon: str, wanted_version: str, now: datetime) -> Progress:
    """An addon of which nothing was said yet."""
    state = AddonState(
        cluster_id=cluster_id, addon=addon, phase=AddonPhase.PENDING, since=now, wanted_version=wanted_version
    )
    return Progress(state)


def decide_waiting(before: Progress, now: datetime) -> Progress:
    """The control plane does not answer yet. What is installed already stays as it was said."""
    if before.state.installed_version is not None:
        return before
    return _said(before, AddonPhase.PENDING, now, reason=WAITING)


def decide_applying(before: Progress, wanted_version: str, now: datetime) -> Progress:
    """The intent, committed before the first object is applied; nothing changes where this version is installed."""
    wanted = replace(before, state=before.state.model_copy(update={"wanted_version": wanted_version}))
    if wanted.is_installed:
        return wanted
    forced = replace(wanted, applied_at=None)
    if wanted.state.installed_version is not None:
        return _said(forced, AddonPhase.OUTDATED, now, reason=wanted.state.reason)
    if wanted.state.phase is AddonPhase.DEGRADED:
        return forced  # it was refused; nothing better is known until it was tried again
    # what the last attempt failed with stays until one succeeds
    kept = wanted.state.reason if wanted.state.phase is AddonPhase.INSTALLING else None
    return _said(forced, AddonPhase.INSTALLING, now, reason=kept)


def decide_applied(before: Progress, objects: int, now: datetime) -> Progress:
    """All objects are as the definition says. Whether the pods come up is seen at the next looks."""
    version = before.state.wanted_version
    keeps = before.state.phase is AddonPhase.DEGRADED and before.unavailable_since is not None
    after = before if keeps else _said(before, AddonPhase.INSTALLED, now)
    state = after.state.model_copy(update={"installed_version": version, "objects": objects})
    return replace(after, state=state, applied_at=now)


def decide_available(
    before: Progress, workloads: Sequence[WorkloadStatus | None], now: datetime, patience: timedelta
) -> Progress:
    """What the addon's pods say of it; None is a workload that vanished, which the next look applies again."""
    if any(each is None for each in workloads):
        return replace(before, applied_at=None)
    missing = [each.shortfall for each in workloads if each is not None and each.shortfall]
    if not missing:
        well = replace(before, unavailable_since=None)
        return _said(well, AddonPhase.INSTALLED, now)
    since = before.unavailable_since or now
    waited = replace(before, unavailable_since=since)
    if now - since < patience:
        return waited
    message = f"For more than {patience.total_seconds() / 60:g} min: {'; '.join(missing)}"
    return _said(waited, AddonPhase.DEGRADED, now, reason=Reason(code=UNAVAILABLE, message=message))


def decide_refused(before: Progress, reason: Reason, now: datetime, *, final: bool) -> Progress:
    """The addon could not be brought to its definition.

    What will pass by itself is only shown on an addon that is not installed yet: whether a cluster answers is not
    said here. What somebody has to change is a degradation, and the objects are applied again at the next look.
    """
    if final:
        return _said(replace(before, applied_at=None), AddonPhase.DEGRADED, now, reason=reason)
    if before.is_installed or before.state.phase is AddonPhase.DEGRADED:
        return before
    return _said(before, before.state.phase, now, reason=reason)


def decide_removed(before: Progress, now: datetime) -> Progress:
    """The cluster is being deleted, or gone."""
    return _said(before, AddonPhase.REMOVED, now)


def event_of(before: Progress | None, after: Progress) -> type[Event[AddonState]]:
    """The event that names what changed."""
    phase = after.state.phase
    known = before.state.installed_version if before is not None else None
    if phase is AddonPhase.INSTALLED and known is not None and known != after.state.installed_version:
        return AddonUpdated
    return _EVENTS[phase]


def _said(before: Progress, phase: AddonPhase, now: datetime, *, reason: Reason | None = None) -> Progress:
    since = before.state.since if before.state.phase is phase else now
    state = before.state.model_copy(update={"phase": phase, "since": since, "reason": reason})
    return replace(before, state=state)
