"""The composition root: the only place that wires real things."""

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from prometheus_client import CollectorRegistry

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import Clock, SystemClock
from slipway_chassis.database import Database
from slipway_chassis.outbox import Announcer
from slipway_chassis.regions import EndpointKind, Region, load_regions
from slipway_chassis.releases import Releases, load_releases
from slipway_chassis.runner import App
from slipway_chassis.service import Service
from slipway_provisioner.access import Accesses
from slipway_provisioner.adapters.octavia import OctaviaEndpoint
from slipway_provisioner.agent_api import AgentApi, AgentEndpoint
from slipway_provisioner.cluster_deletion import ClusterDeletion
from slipway_provisioner.cluster_parts import ClusterParts
from slipway_provisioner.cluster_store import Clusters
from slipway_provisioner.context import Context
from slipway_provisioner.control_plane import ControlPlane
from slipway_provisioner.crypto import MasterKey, load_master_key
from slipway_provisioner.domain.pki import Authority
from slipway_provisioner.etcd_membership import EtcdMemberships
from slipway_provisioner.handlers import Handlers
from slipway_provisioner.ledger import Ledger
from slipway_provisioner.ledger_check import LedgerCheck
from slipway_provisioner.ledger_recovery import LedgerRecovery
from slipway_provisioner.node_effects import NodeEffects
from slipway_provisioner.node_removal import NodeRemoval
from slipway_provisioner.onboarding import Onboarding
from slipway_provisioner.peers import PeerAuthorities
from slipway_provisioner.planning import Planner
from slipway_provisioner.ports import Cloud, Endpoint, KubernetesApi
from slipway_provisioner.reconciler_clusters import ClusterReconciler
from slipway_provisioner.reconciler_nodes import NodeReconciler
from slipway_provisioner.reconciler_servers import ServersReconciler
from slipway_provisioner.reconciler_tables import TableReconciler
from slipway_provisioner.routes import build_routes
from slipway_provisioner.settings import Settings
from slipway_provisioner.signing import SigningApi
from slipway_provisioner.store import metadata
from slipway_provisioner.store_agents import AgentRow
from slipway_provisioner.store_keys import ClusterKeyRow
from slipway_provisioner.store_plans import PlanRow

NAME = "provisioner"

TABLES = (AgentRow, ClusterKeyRow, PlanRow)
"""Named so that importing this module makes `metadata` complete."""


@dataclass(frozen=True)
class Parts:
    """What a simulation or a test exchanges."""

    clock: Clock
    database: Database
    random: Random
    cloud: Cloud
    kubernetes: KubernetesApi
    region: Region
    releases: Releases
    master: MasterKey
    authorities: PeerAuthorities
    agent_authority: Authority
    program: bytes = field(repr=False)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)


def build_service(settings: Settings, parts: Parts) -> Service:
    """Wire the service; no I/O, nothing starts."""
    context = Context(
        settings=settings,
        region=parts.region,
        database=parts.database,
        clock=parts.clock,
        random=parts.random,
        announcer=Announcer(NAME, settings.region, parts.clock),
        cloud=parts.cloud,
        kubernetes=parts.kubernetes,
        ledger=Ledger(parts.database, parts.cloud, parts.clock, settings.settle_for),
    )
    onboarding = Onboarding(parts.region.agent_url, parts.authorities.services_pem, parts.program, parts.master)
    accesses = Accesses(context, parts.master)
    clusters = Clusters(context)
    planner = Planner(context, parts.releases, onboarding, parts.master)
    recovery = LedgerRecovery(context)
    effects = NodeEffects(context, planner, NodeRemoval(context, accesses), EtcdMemberships(context))
    return Service(
        name=NAME,
        region=settings.region,
        database=parts.database,
        clock=parts.clock,
        metadata=metadata,
        routes=build_routes(Handlers(parts.clock)),
        reconcilers=(
            ClusterReconciler(
                context,
                clusters,
                ClusterParts(context, clusters, parts.master, build_endpoint(parts.region, parts.cloud)),
                ControlPlane(context, clusters, accesses),
                ClusterDeletion(context, clusters, accesses, recovery),
            ),
            TableReconciler(context),
            NodeReconciler(context, effects),
            ServersReconciler(context),
            recovery,
        ),
        lease_for=settings.lease_for,
        random=parts.random,
        registry=parts.registry,
    )


def build_endpoint(region: Region, cloud: Cloud) -> Endpoint:
    """The kind of endpoint that the region names; ValueError when this release has none of that kind."""
    if region.endpoint.kind is EndpointKind.OCTAVIA:
        return OctaviaEndpoint(cloud, region.endpoint)
    raise ValueError(f"region {region.name}: this release cannot make endpoints of the kind {region.endpoint.kind}")


def build_agent_api(service: Service, parts: Parts) -> AgentApi:
    """What agents talk to; a simulation calls its `dispatch` itself."""
    endpoint = AgentEndpoint(
        authority=parts.agent_authority,
        trust_pem=parts.authorities.bundle,
        observe_url=parts.region.observe_url,
        program=parts.program,
    )
    return AgentApi(
        endpoint,
        parts.master,
        parts.clock,
        service.transaction,
        parts.database.reading,
        parts.registry,
        service.tracing,
    )


def build_signing_api(parts: Parts) -> SigningApi:
    """What the other services ask for credentials; a simulation calls its `dispatch` itself."""
    return SigningApi(parts.master, parts.clock, parts.database.reading)


def real_parts(settings: Settings, executor: ThreadPoolExecutor) -> Parts:
    """The real adapters. Raises ValueError or LookupError with what is wrong with the settings or files."""
    from slipway_node_agent.build import build_program
    from slipway_provisioner.adapters.kubernetes import KubernetesClusters
    from slipway_provisioner.adapters.openstack import OpenStackCloud
    from slipway_provisioner.adapters.sessions import Sessions, connect_as, in_threads

    region = load_regions(settings.regions_file).named(settings.region)
    services_pem = _text("tls_ca_file", settings.tls_ca_file)
    agents_pem = _text("agent_ca_cert_file", settings.agent_ca_cert_file)
    registry = CollectorRegistry()
    calls = ProviderCalls(registry)
    connect, run = connect_as(region.cloud, settings.call_timeout), in_threads(executor)
    sessions = Sessions(connect, run, settings.calls_in_flight, calls)
    return Parts(
        clock=SystemClock(),
        database=Database(settings.database_url, pool_size=settings.workers + 4),
        random=Random(),
        cloud=OpenStackCloud(sessions),
        kubernetes=KubernetesClusters(settings.api_timeout, calls=calls),
        region=region,
        releases=load_releases(region.releases_file),
        master=load_master_key(_required("master_key_file", settings.master_key_file)),
        authorities=PeerAuthorities(services_pem, agents_pem),
        agent_authority=Authority(agents_pem, _text("agent_ca_key_file", settings.agent_ca_key_file)),
        program=build_program(),
        registry=registry,
    )


def build_app(settings: Settings) -> App:
    """Everything that the runner runs."""
    from slipway_provisioner.servers import build_application, server_context, serving

    executor = ThreadPoolExecutor(settings.calls_in_flight * 2, thread_name_prefix="cloud")
    parts = real_parts(settings, executor)
    service = build_service(settings, parts)
    agent_api = build_agent_api(service, parts)
    tls = server_context(
        _required("tls_cert_file", settings.tls_cert_file),
        _required("tls_key_file", settings.tls_key_file),
        parts.authorities,
    )
    application = build_application(agent_api.dispatch, build_signing_api(parts).dispatch, parts.authorities)

    @asynccontextmanager
    async def agents() -> AsyncIterator[None]:
        async with serving(application, tls, settings.agent_host, settings.agent_port, agent_api.stop):
            yield

    return App(
        service=service,
        settings=settings,
        servers=[agents],
        closing=[lambda: executor.shutdown(wait=False, cancel_futures=True)],
        checks=[LedgerCheck(parts.database, parts.cloud)],
    )


def _required(name: str, path: Path | None) -> Path:
    if path is None:
        raise ValueError(f"set SLIPWAY_PROVISIONER_{name.upper()} to the file it names")
    return path


def _text(name: str, path: Path | None) -> str:
    try:
        return _required(name, path).read_text()
    except OSError as error:
        raise ValueError(f"SLIPWAY_PROVISIONER_{name.upper()}: {path} cannot be read: {error.strerror}") from error
