"""What an operator sees of the healer itself."""

from prometheus_client import CollectorRegistry, Counter

from slipway_healer.domain.model import Decision


class HealerMetrics:
    """Decisions and refusals, each counted when it is new."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.decisions = Counter(
            "slipway_healer_decisions", "What was decided, when it was new", ["decision"], registry=registry
        )
        self.refusals = Counter(
            "slipway_healer_refusals", "What was refused, when it was new, by gate", ["gate"], registry=registry
        )

    def count(self, decision: Decision) -> None:
        """Count what is in a decision that differs from the last one."""
        for change in decision.changes:
            self.decisions.labels(decision=change.action.value).inc()
        if decision.mint:
            self.decisions.labels(decision="mint").inc(len(decision.mint))
        for refusal in decision.refusals:
            self.refusals.labels(gate=refusal.gate.value).inc()
