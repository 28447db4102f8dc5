"""What an operator sees of the monitor itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class MonitorMetrics:
    """Counters and gauges of one monitor."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.looks = Counter(
            "slipway_monitor_looks", "Looks into clusters' APIs by outcome", ["outcome"], registry=registry
        )
        self.rounds = Counter(
            "slipway_monitor_rounds", "Rounds over the region's servers by outcome", ["outcome"], registry=registry
        )
        self.observations = Counter(
            "slipway_monitor_observations", "Agents' observations by outcome", ["outcome"], registry=registry
        )
        self.trusted = Gauge("slipway_monitor_region_trusted", "1: what is seen may be acted upon", registry=registry)
        self.unseen = Gauge("slipway_monitor_clusters_unseen", "Clusters not reached lately", registry=registry)
        self.unreached = Gauge(
            "slipway_monitor_projects_unreached", "Projects whose servers could not be listed", registry=registry
        )
        self.alerts = Counter("slipway_monitor_alerts", "Alerts raised", ["name"], registry=registry)
