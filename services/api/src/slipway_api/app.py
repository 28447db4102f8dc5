"""The composition root: the only place that wires real things."""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
from prometheus_client import CollectorRegistry

from slipway_api.adapters.cloud import OpenStackCatalogue
from slipway_api.adapters.clouds import load_cloud_addresses
from slipway_api.adapters.keystone import KeystoneIdentity
from slipway_api.adapters.releases import ReleaseFiles
from slipway_api.adapters.signing import ProvisionerSigner
from slipway_api.changes import Changes
from slipway_api.clusters import Clusters
from slipway_api.credentials import Credentials
from slipway_api.feed import Feed
from slipway_api.gateway import Gateway
from slipway_api.handlers import Handlers
from slipway_api.pools import Pools
from slipway_api.ports import CloudCatalogue, Identity, Releases, Signer
from slipway_api.reconciler import HOUSEKEEPING, ClusterProjection, Housekeeping
from slipway_api.rest.web import build_web
from slipway_api.routes import build_routes
from slipway_api.settings import Settings
from slipway_api.store import metadata
from slipway_api.tokens import Gatekeeper
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import Clock, SystemClock
from slipway_chassis.database import Database
from slipway_chassis.regions import Regions, load_regions
from slipway_chassis.runner import App
from slipway_chassis.service import Service
from slipway_chassis.signing import service_context


@dataclass(frozen=True)
class Parts:
    """What a simulation or a test exchanges."""

    clock: Clock
    database: Database
    random: random.Random
    regions: Regions
    identity: Identity
    catalogue: CloudCatalogue
    signer: Signer
    releases: Releases
    auth_urls: Mapping[str, str] = field(default_factory=dict)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def build_service(settings: Settings, parts: Parts) -> tuple[Service, Gateway]:
    """Wire the service and what its REST API works with; nothing starts, nothing is opened."""
    feed = Feed(parts.database, settings.events_poll)
    service = Service(
        name="api",
        region="global",
        database=parts.database,
        clock=parts.clock,
        metadata=metadata,
        routes=build_routes(Handlers(feed, parts.clock)),
        reconcilers=(
            ClusterProjection(parts.database, parts.clock),
            Housekeeping(parts.database, parts.clock, settings),
        ),
        schedule={(HOUSEKEEPING, "all"): timedelta(minutes=1)},
        lease_for=settings.lease_for,
        random=parts.random,
        registry=parts.registry,
    )
    changes = Changes(service, feed)
    clusters = Clusters(service, changes, parts.regions, parts.releases, parts.catalogue)
    gateway = Gateway(
        service=service,
        settings=settings,
        regions=parts.regions,
        releases=parts.releases,
        gatekeeper=Gatekeeper(parts.identity, parts.regions, parts.clock, settings.token_cached_for),
        changes=changes,
        clusters=clusters,
        pools=Pools(service, clusters, changes, parts.regions, parts.catalogue),
        credentials=Credentials(service, clusters, changes, parts.regions, parts.signer),
        feed=feed,
        auth_urls=dict(parts.auth_urls),
    )
    return service, gateway


def real_parts(settings: Settings, clients: "Clients", regions: Regions) -> Parts:
    """The real outside."""
    addresses = load_cloud_addresses(regions.regions, settings.clouds_file)
    to_clouds = {name: clients.open(address.client(settings.cloud_timeout)) for name, address in addresses.items()}
    registry = CollectorRegistry()
    calls = ProviderCalls(registry)
    to_provisioners = clients.open(
        httpx.AsyncClient(verify=service_context(settings), timeout=settings.cloud_timeout, trust_env=False)
    )
    return Parts(
        clock=SystemClock(),
        database=Database(settings.database_url),
        random=random.SystemRandom(),
        regions=regions,
        identity=KeystoneIdentity(addresses, to_clouds, calls),
        catalogue=OpenStackCatalogue(to_clouds, calls),
        signer=ProvisionerSigner(to_provisioners, calls),
        registry=registry,
        releases=ReleaseFiles(),
        auth_urls={name: address.auth_url for name, address in addresses.items()},
    )


class Clients:
    """The HTTP clients that a process has, to be closed with it."""

    def __init__(self) -> None:
        self._open: list[httpx.AsyncClient] = []

    def open(self, client: httpx.AsyncClient) -> httpx.AsyncClient:
        """Remember a client."""
        self._open.append(client)
        return client

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While the service runs; on leaving all are closed."""
        try:
            yield
        finally:
            for client in self._open:
                await client.aclose()


def build_app(settings: Settings) -> App:
    """The api, ready for the runner. ValueError says which file or setting is wrong."""
    clients = Clients()
    regions = load_regions(settings.regions_file)
    parts = real_parts(settings, clients, regions)
    for region in regions.regions:
        parts.releases.of(region)
    service, gateway = build_service(settings, parts)
    return App(service, settings, asgi=build_web(gateway), servers=(gateway.feed.serving, clients.serving))
