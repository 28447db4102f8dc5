"""Calls to the outside, counted and timed: to the cloud, to clusters, to the provisioner's signing."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

from slipway_chassis import telemetry
from slipway_chassis.errors import GiveUp, RetryLater

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ProviderCalls:
    """The calls of one service; `provider` is `openstack`, `kubernetes` or `signing`."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        place = registry or CollectorRegistry()
        self._count = Counter(
            "slipway_provider_calls",
            "Calls to the outside by what became of them",
            ["provider", "call", "outcome"],
            registry=place,
        )
        self._seconds = Histogram(
            "slipway_provider_call_seconds",
            "Duration of a call to the outside",
            ["provider", "call"],
            buckets=_SECONDS,
            registry=place,
        )

    @contextmanager
    def made(self, provider: str, call: str) -> Iterator[None]:
        """One call by method and kind (`POST compute`), never with an id: that would be a time series an object."""
        outcome = "ok"
        timed = self._seconds.labels(provider=provider, call=call).time()
        try:
            changes = not call.startswith(("GET", "HEAD"))
            with telemetry.step(f"{provider} {call}", changes=changes, provider=provider), timed:
                yield
        except RetryLater:
            outcome = "retry"
            raise
        except GiveUp:
            outcome = "give_up"
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except Exception:
            outcome = "error"
            raise
        finally:
            self._count.labels(provider=provider, call=call, outcome=outcome).inc()
