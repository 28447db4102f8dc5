"""The composition root: the only place that wires real things."""

from dataclasses import dataclass, field
from random import Random

from prometheus_client import CollectorRegistry

from slipway_addon_manager.handlers import Handlers
from slipway_addon_manager.metrics import AddonMetrics
from slipway_addon_manager.ports import Clusters, Credentials
from slipway_addon_manager.reconciler import ClusterReconciler, ReleaseImages
from slipway_addon_manager.releases import RegionImages
from slipway_addon_manager.routes import build_routes
from slipway_addon_manager.settings import Settings
from slipway_addon_manager.store import metadata
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import Clock, SystemClock
from slipway_chassis.database import Database
from slipway_chassis.outbox import Announcer
from slipway_chassis.regions import Machine, load_regions
from slipway_chassis.releases import load_releases
from slipway_chassis.runner import App
from slipway_chassis.service import Service
from slipway_chassis.signing import KeptCredentials, SigningClient, service_context
from slipway_contracts.signing import CredentialPersona

NAME = "addon_manager"


@dataclass(frozen=True)
class Parts:
    """What a simulation or a test exchanges."""

    clock: Clock
    database: Database
    random: Random
    credentials: Credentials
    clusters: Clusters
    releases: ReleaseImages
    machine: Machine = field(default_factory=Machine)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def build_service(settings: Settings, parts: Parts) -> Service:
    """Wire the service; no I/O, nothing starts."""
    registry = parts.registry
    reconciler = ClusterReconciler(
        database=parts.database,
        clock=parts.clock,
        announcer=Announcer(NAME, settings.region, parts.clock),
        random=parts.random,
        credentials=parts.credentials,
        clusters=parts.clusters,
        releases=parts.releases,
        machine=parts.machine,
        settings=settings,
        metrics=AddonMetrics(registry),
    )
    return Service(
        name=NAME,
        region=settings.region,
        database=parts.database,
        clock=parts.clock,
        metadata=metadata,
        routes=build_routes(Handlers(parts.clock)),
        reconcilers=(reconciler,),
        lease_for=settings.lease_for,
        random=parts.random,
        registry=registry,
    )


def real_parts(settings: Settings) -> Parts:
    """The real adapters. Raises ValueError or LookupError with what is wrong with the settings or files."""
    from slipway_addon_manager.adapters.kubernetes import KubernetesClusters

    region = load_regions(settings.regions_file).named(settings.region)
    context = service_context(settings)
    registry = CollectorRegistry()
    calls = ProviderCalls(registry)
    signing = SigningClient(region.signing_url, context, CredentialPersona.ADDON_MANAGER, settings.call_timeout, calls)
    clock = SystemClock()
    return Parts(
        clock=clock,
        database=Database(settings.database_url),
        random=Random(),
        credentials=KeptCredentials(signing.sign, clock, settings.credential_lifetime),
        clusters=KubernetesClusters(settings.call_timeout, calls),
        releases=RegionImages(load_releases(region.releases_file)),
        machine=region.machine,
        registry=registry,
    )


def build_app(settings: Settings) -> App:
    """Everything that the runner runs."""
    return App(service=build_service(settings, real_parts(settings)), settings=settings)
