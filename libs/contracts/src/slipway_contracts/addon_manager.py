"""What the addon manager owns: which addon version is in which cluster."""

from enum import StrEnum

from pydantic import Field

from slipway_contracts.envelope import Body, Event
from slipway_contracts.values import Id, Instant, Reason


class AddonPhase(StrEnum):
    """Where an addon is in one cluster."""

    PENDING = "pending"
    INSTALLING = "installing"
    INSTALLED = "installed"
    OUTDATED = "outdated"
    DEGRADED = "degraded"
    REMOVED = "removed"


class AddonState(Body):
    """One addon in one cluster."""

    cluster_id: Id
    addon: str = Field(examples=["flannel"])
    phase: AddonPhase
    since: Instant
    wanted_version: str
    installed_version: str | None = None
    objects: int = Field(default=0, ge=0, description="Kubernetes objects that it consists of")
    reason: Reason | None = None


class AddonChanged(Event[AddonState], noun="addon", verb="changed", owner="addon_manager"):
    """The addon is waiting or being applied."""


class AddonInstalled(Event[AddonState], noun="addon", verb="installed", owner="addon_manager"):
    """The addon's objects are in the cluster as its definition says."""


class AddonOutdated(Event[AddonState], noun="addon", verb="outdated", owner="addon_manager"):
    """A newer definition is wanted than the one installed."""


class AddonUpdated(Event[AddonState], noun="addon", verb="updated", owner="addon_manager"):
    """The addon was brought to a newer definition."""


class AddonDegraded(Event[AddonState], noun="addon", verb="degraded", owner="addon_manager"):
    """The addon cannot be applied, or differs from its definition."""


class AddonRemoved(Event[AddonState], noun="addon", verb="removed", owner="addon_manager", ends=True):
    """The addon is gone, or its cluster is."""
