"""The metrics of the REST API, beside those that every service has."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class WebMetrics:
    """Requests by path and status, and open streams."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "slipway_api_requests",
            "Requests by method, path and status",
            ["method", "path", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "slipway_api_request_seconds",
            "Time until an answer begins",
            ["method", "path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.streams = Gauge("slipway_api_streams", "Open streams of events", registry=registry)
