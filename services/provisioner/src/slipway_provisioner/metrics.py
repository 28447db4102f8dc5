"""What an operator sees of the provisioner itself."""

from prometheus_client import CollectorRegistry, Counter


class ProvisionerMetrics:
    """Counters of one provisioner."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.claims_refused = Counter(
            "slipway_provisioner_claims_refused",
            "Claims of a node that were refused, by cause",
            ["code"],
            registry=registry,
        )
