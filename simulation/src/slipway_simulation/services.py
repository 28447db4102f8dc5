"""The five services with the simulation's parts: their own composition roots, real adapters, another world outside."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from prometheus_client import CollectorRegistry

import slipway_addon_manager.app as addon_manager
import slipway_api.app as api
import slipway_healer.app as healer
import slipway_monitor.app as monitor
import slipway_provisioner.app as provisioner
from slipway_addon_manager.adapters.kubernetes import KubernetesApi as AddonApi
from slipway_addon_manager.releases import RegionImages
from slipway_addon_manager.settings import Settings as AddonSettings
from slipway_api.adapters.cloud import OpenStackCatalogue
from slipway_api.adapters.clouds import load_cloud_addresses
from slipway_api.adapters.keystone import KeystoneIdentity
from slipway_api.adapters.releases import ReleaseFiles
from slipway_api.settings import Settings as ApiSettings
from slipway_chassis.regions import Defaults, Region, Regions
from slipway_chassis.releases import load_releases
from slipway_chassis.signing import ClusterCredential, KeptCredentials
from slipway_contracts.signing import CredentialPersona
from slipway_healer.settings import Settings as HealerSettings
from slipway_monitor.adapters.kubernetes import KubernetesClusters as MonitorClusters
from slipway_monitor.adapters.openstack import OpenStackServers
from slipway_monitor.adapters.openstack import connect_as as observe_as
from slipway_monitor.listening import Heard
from slipway_monitor.settings import Settings as MonitorSettings
from slipway_provisioner.adapters.kubernetes import KubernetesClusters as ProvisionerClusters
from slipway_provisioner.adapters.openstack import OpenStackCloud
from slipway_provisioner.adapters.sessions import Sessions, connect_as
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.pki import Authority, make_authority
from slipway_provisioner.peers import PeerAuthorities
from slipway_provisioner.ports import Cloud as CloudPort
from slipway_provisioner.settings import Settings as ProvisionerSettings
from slipway_sandbox.machines.mirror import make_mirror
from slipway_simulation.cloud_side import CloudSide
from slipway_simulation.cluster_apis import ClusterApis, InProcessClient
from slipway_simulation.processes import Running, ServiceProcess
from slipway_simulation.programs import RELEASE
from slipway_simulation.signing_side import AddonClusters, NoSigner, Signing
from slipway_simulation.virtual_time import START, LoopClock

REGION = "sandbox"
PROGRAM = b"the agent"
TIMEOUT = timedelta(seconds=30)


@dataclass
class Surroundings:
    """What all services stand in."""

    folder: Path
    clock: LoopClock
    cloud: CloudSide
    apis: ClusterApis
    random: Random
    wrap_cloud: Callable[[CloudPort], CloudPort] = lambda cloud: cloud
    """A test of the simulation itself breaks the provisioner's adapter here."""

    def __post_init__(self) -> None:
        releases_file = make_mirror(self.folder, [RELEASE])
        self.region = Region(
            name=REGION,
            cloud="sandbox-service",
            zones=("zone-1", "zone-2"),
            mirror="http://mirror.invalid/",
            releases_file=releases_file,
            defaults=Defaults(image="debian-12-node", flavor={"any": "m1.small"}, network="private", release=RELEASE),
            agent_url="https://agents.invalid",
            observe_url="https://observe.invalid",
            signing_url="https://signing.invalid",
        )
        self.services: Authority = make_authority("services", START)
        self.agents: Authority = make_authority("agents", START)
        self.authorities = PeerAuthorities(self.services.certificate_pem, self.agents.certificate_pem)
        self.releases = load_releases(releases_file)
        self.addon_releases = RegionImages(self.releases)
        self.release_files = ReleaseFiles()
        self.connect = connect_as("sandbox-service", TIMEOUT, self.cloud.http, self.cloud.clouds_file)
        self.observe = observe_as(
            self.region, timedelta(seconds=8), http=self.cloud.http, clouds_file=self.cloud.clouds_file
        )

    def fresh_random(self) -> Random:
        """A source of its own for each process."""
        return Random(self.random.random())


def build_provisioner(world: Surroundings, process: ServiceProcess) -> Running:
    """The provisioner, with its interfaces for agents and for signing."""
    settings = ProvisionerSettings(region=REGION)
    parts = provisioner.Parts(
        clock=world.clock,
        database=process.store.database,
        random=world.fresh_random(),
        cloud=world.wrap_cloud(OpenStackCloud(Sessions(world.connect, world.cloud.run, settings.calls_in_flight))),
        kubernetes=ProvisionerClusters(
            settings.api_timeout,
            lambda access: InProcessClient(world.apis, access.endpoint, access.certificate_pem, access.ca_pem),
        ),
        region=world.region,
        releases=world.releases,
        master=MasterKey(b"k" * 32),
        authorities=world.authorities,
        agent_authority=world.agents,
        program=PROGRAM,
        registry=CollectorRegistry(),
    )
    service = provisioner.build_service(settings, parts)
    agents = provisioner.build_agent_api(service, parts)
    return Running(service, {"agents": agents, "signing": provisioner.build_signing_api(parts)})


def build_healer(world: Surroundings, process: ServiceProcess) -> Running:
    """The healer."""
    parts = healer.Parts(world.clock, process.store.database, world.fresh_random())
    return Running(healer.build_service(HealerSettings(region=REGION), parts), {})


def build_monitor(world: Surroundings, process: ServiceProcess, signing: Signing) -> Running:
    """The monitor, with its interface for agents."""
    settings = MonitorSettings(region=REGION)

    def connect(target: Any, credential: ClusterCredential) -> InProcessClient:
        return InProcessClient(world.apis, target.endpoint, credential.certificate_pem, target.ca_pem)

    signer = signing.as_service("monitor", CredentialPersona.MONITOR)
    credentials = KeptCredentials(signer.sign, world.clock, settings.credential_lifetime)
    clusters = MonitorClusters(credentials, settings.look_timeout, connect)
    parts = monitor.Parts(
        clock=world.clock,
        database=process.store.database,
        random=world.fresh_random(),
        servers=OpenStackServers(world.observe, world.cloud.run, everywhere=False),
        clusters=clusters,
        heard=Heard(world.clock.now()),
        registry=CollectorRegistry(),
    )
    service = monitor.build_service(settings, parts)
    return Running(service, {"observations": monitor.build_observation_api(service, parts)})


def build_addon_manager(world: Surroundings, process: ServiceProcess, signing: Signing) -> Running:
    """The addon manager."""
    settings = AddonSettings(region=REGION)
    signer = signing.as_service("addon_manager", CredentialPersona.ADDON_MANAGER)
    parts = addon_manager.Parts(
        clock=world.clock,
        database=process.store.database,
        random=world.fresh_random(),
        credentials=KeptCredentials(signer.sign, world.clock, settings.credential_lifetime),
        clusters=AddonClusters(world.apis, AddonApi),
        releases=world.addon_releases,
    )
    return Running(addon_manager.build_service(settings, parts), {})


def build_api(world: Surroundings, process: ServiceProcess) -> Running:
    """The api, with its gateway for users' requests."""
    regions = Regions(regions=(world.region,))
    addresses = load_cloud_addresses(regions.regions, world.cloud.clouds_file)
    clients = {world.region.name: world.cloud.client()}
    parts = api.Parts(
        clock=world.clock,
        database=process.store.database,
        random=world.fresh_random(),
        regions=regions,
        identity=KeystoneIdentity(addresses, clients),
        catalogue=OpenStackCatalogue(clients),
        signer=NoSigner(),
        releases=world.release_files,
    )
    service, gateway = api.build_service(ApiSettings(region="global"), parts)
    return Running(service, {"gateway": gateway})
