"""The metrics that every service has; one registry a service, so that several fit into one process.

Names: `slipway_<what>` is the same in all services, `slipway_<service>_<what>` one service's own. Calls to the outside
are in calls.py.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 1800)


class ServiceMetrics:
    """Counters and gauges of one service."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.info = Gauge(
            "slipway_service_info", "1, with the service's name and region", ["service", "region"], registry=registry
        )
        self.measured = Gauge(
            "slipway_measured_timestamp_seconds", "When the service last looked into its database", registry=registry
        )
        self._messages(registry)
        self._work(registry)
        self.certificates = Gauge(
            "slipway_certificate_expires_timestamp_seconds",
            "When a certificate that this service uses ends, by the setting that names its file",
            ["setting"],
            registry=registry,
        )

    def _messages(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "slipway_messages",
            "Messages received, by type and what became of them",
            ["type", "disposition"],
            registry=registry,
        )
        self.message_age = Histogram(
            "slipway_message_age_seconds",
            "Time from a change's being said to its being taken from the queue, for what was news",
            buckets=_AGES,
            registry=registry,
        )
        self.dead_letters = Counter("slipway_dead_letters", "Messages put aside as invalid", registry=registry)
        self.published = Counter("slipway_published", "Messages confirmed by the broker", registry=registry)
        self.unrouted = Counter(
            "slipway_unrouted", "Published messages that no queue wanted", ["type"], registry=registry
        )
        self.outbox_age = Gauge(
            "slipway_outbox_age_seconds", "Age of the oldest unpublished message", registry=registry
        )
        self.outbox_messages = Gauge("slipway_outbox_messages", "Messages not published yet", registry=registry)

    def _work(self, registry: CollectorRegistry) -> None:
        self.reconciled = Counter(
            "slipway_reconciled", "Reconciliations by kind of object and result", ["kind", "result"], registry=registry
        )
        self.duration = Histogram(
            "slipway_reconcile_seconds", "Duration of a reconciliation", ["kind"], buckets=_SECONDS, registry=registry
        )
        self.work_rows = Gauge(
            "slipway_work_rows",
            "Objects to look at by state: waiting, due, overdue (for more than a minute), leased, failing",
            ["kind", "state"],
            registry=registry,
        )
        self.work_lag = Gauge(
            "slipway_work_lag_seconds", "For how long the object that waits longest is due", ["kind"], registry=registry
        )
