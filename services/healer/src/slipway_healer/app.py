"""Puts the healer together: the only place that wires real things."""

from dataclasses import dataclass, field
from random import Random

from prometheus_client import CollectorRegistry

from slipway_chassis.clock import Clock, SystemClock
from slipway_chassis.database import Database
from slipway_chassis.runner import App
from slipway_healer.handlers import Handlers
from slipway_healer.metrics import HealerMetrics
from slipway_healer.reconciler import ClusterReconciler, HealerService
from slipway_healer.routes import build_routes
from slipway_healer.settings import Settings
from slipway_healer.store import metadata


@dataclass(frozen=True)
class Parts:
    """What a simulation or a test exchanges."""

    clock: Clock
    database: Database
    random: Random = field(default_factory=Random)


def build_service(settings: Settings, parts: Parts) -> HealerService:
    """Wire the service; nothing starts."""
    registry = CollectorRegistry()
    reconciler = ClusterReconciler(settings, parts.random, HealerMetrics(registry))
    service = HealerService(
        name="healer",
        region=settings.region,
        database=parts.database,
        clock=parts.clock,
        metadata=metadata,
        routes=build_routes(Handlers(parts.clock)),
        reconcilers=[reconciler],
        lease_for=settings.lease_for,
        random=parts.random,
        registry=registry,
    )
    reconciler.service = service
    return service


def real_parts(settings: Settings) -> Parts:
    """The machine's clock and the configured database."""
    return Parts(clock=SystemClock(), database=Database(settings.database_url))


def build_app(settings: Settings) -> App:
    """The healer, ready to run."""
    return App(service=build_service(settings, real_parts(settings)), settings=settings)
