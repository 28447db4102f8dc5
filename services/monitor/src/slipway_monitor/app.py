"""The composition root: the only place that wires real things."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from prometheus_client import CollectorRegistry

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import Clock, SystemClock
from slipway_chassis.database import Database
from slipway_chassis.outbox import Announcer
from slipway_chassis.regions import load_regions
from slipway_chassis.runner import App
from slipway_chassis.service import Service
from slipway_chassis.signing import KeptCredentials, SigningClient, service_context
from slipway_contracts.signing import CredentialPersona
from slipway_monitor.agent_api import ObservationApi
from slipway_monitor.conclusions import Speaker
from slipway_monitor.listening import Heard
from slipway_monitor.looks import Looks
from slipway_monitor.metrics import MonitorMetrics
from slipway_monitor.ports import ClusterApi, ServerList
from slipway_monitor.reconciler_cluster import ClusterReconciler
from slipway_monitor.reconciler_region import KIND as REGION
from slipway_monitor.reconciler_region import RegionReconciler
from slipway_monitor.routes import build_routes
from slipway_monitor.settings import Settings
from slipway_monitor.store import metadata

NAME = "monitor"


@dataclass(frozen=True)
class Parts:
    """What a simulation or a test exchanges."""

    clock: Clock
    database: Database
    random: Random
    servers: ServerList
    clusters: ClusterApi
    heard: Heard
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    closing: Sequence[Callable[[], Awaitable[None]]] = ()
    """Connections to close at the very end."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", MonitorMetrics(self.registry))

    metrics: MonitorMetrics = field(init=False)


def build_service(settings: Settings, parts: Parts) -> Service:
    """Wire the service; no I/O, nothing starts."""
    clock, database = parts.clock, parts.database
    announcer = Announcer(NAME, settings.region, clock)
    clusters = ClusterReconciler(
        database=database,
        clock=clock,
        announcer=announcer,
        looks=Looks(parts.clusters, clock, settings.limits, parts.metrics, least_apart=settings.look_soonest),
        heard=parts.heard,
        speaker=Speaker(announcer, parts.random, parts.metrics),
        limits=settings.limits,
        alert_limits=settings.alert_limits,
    )
    region = RegionReconciler(
        database=database,
        clock=clock,
        announcer=announcer,
        servers=parts.servers,
        limits=settings.trust_limits,
        every=settings.round_every,
        full_every=settings.full_list_every,
        metrics=parts.metrics,
    )
    return Service(
        name=NAME,
        region=settings.region,
        database=database,
        clock=clock,
        metadata=metadata,
        routes=build_routes(clock, settings.region),
        reconcilers=(clusters, region),
        schedule={(REGION, settings.region): timedelta(0)},
        lease_for=settings.lease_for,
        random=parts.random,
        registry=parts.registry,
    )


def build_observation_api(service: Service, parts: Parts) -> ObservationApi:
    """What agents talk to; a simulation calls its `dispatch` itself."""
    return ObservationApi(service, parts.heard, parts.metrics)


def real_parts(settings: Settings, executor: ThreadPoolExecutor) -> Parts:
    """The real adapters. Raises ValueError or LookupError with what is wrong with the settings or files."""
    from slipway_monitor.adapters.kubernetes import KubernetesClusters
    from slipway_monitor.adapters.openstack import OpenStackServers, connect_as, in_threads

    region = load_regions(settings.regions_file).named(settings.region)
    clock = SystemClock()
    context = service_context(settings)
    registry = CollectorRegistry()
    calls = ProviderCalls(registry)
    signing = SigningClient(region.signing_url, context, CredentialPersona.MONITOR, settings.look_timeout, calls)
    credentials = KeptCredentials(signing.sign, clock, settings.credential_lifetime)
    clusters = KubernetesClusters(credentials, settings.look_timeout, calls=calls)
    return Parts(
        clock=clock,
        database=Database(settings.database_url),
        random=Random(),
        servers=OpenStackServers(
            connect_as(region, settings.cloud_timeout),
            in_threads(executor),
            everywhere=region.observer_cloud is not None,
            calls=calls,
        ),
        clusters=clusters,
        heard=Heard(clock.now()),
        registry=registry,
        closing=(clusters.close, signing.close),
    )


def build_app(settings: Settings) -> App:
    """Everything that the runner runs."""
    from slipway_monitor.servers import serve_agents, tls_context

    tls_context(settings)
    executor = ThreadPoolExecutor(32, thread_name_prefix="cloud")
    parts = real_parts(settings, executor)
    service = build_service(settings, parts)
    api = build_observation_api(service, parts)

    @asynccontextmanager
    async def agents() -> AsyncIterator[None]:
        try:
            async with serve_agents(api, settings):
                yield
        finally:
            for close in parts.closing:
                await close()

    return App(
        service=service,
        settings=settings,
        servers=[agents],
        closing=[lambda: executor.shutdown(wait=False, cancel_futures=True)],
    )
