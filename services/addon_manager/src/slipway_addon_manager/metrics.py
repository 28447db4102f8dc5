"""What an operator sees of the addon manager itself."""

from prometheus_client import CollectorRegistry, Counter


class AddonMetrics:
    """Counters of one addon manager."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.applied = Counter(
            "slipway_addon_manager_applied", "Objects applied, by addon", ["addon"], registry=registry
        )
        self.repaired = Counter(
            "slipway_addon_manager_repaired",
            "Objects that somebody had changed or removed, and that came back",
            ["addon"],
            registry=registry,
        )
        self.deleted = Counter(
            "slipway_addon_manager_deleted", "Objects that no definition has any more", ["addon"], registry=registry
        )
        self.refused = Counter(
            "slipway_addon_manager_refused", "Addons that a cluster refused", ["addon", "code"], registry=registry
        )
