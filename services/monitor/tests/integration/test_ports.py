"""One suite for each port, run on the shipped fake and on the real adapter."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_chassis.regions import Region
from slipway_chassis.signing import KeptCredentials
from slipway_contracts.signing import SignedCredential
from slipway_monitor.adapters.kubernetes import KubernetesClusters
from slipway_monitor.adapters.openstack import OpenStackServers, connect_as, inline
from slipway_monitor.ports import ClusterApi, ServerList, Target
from slipway_monitor.testing import PROJECT, FakeClusters, FakeServers, unreachable
from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.login import write_clouds_yaml
from slipway_sandbox.cloud.testing import Tenant
from slipway_sandbox.cloud.transport import ORIGIN, CloudTransport
from slipway_sandbox.machines.testing import KubernetesEndpoint, serve_kubernetes

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeRegion:
    """The shipped fake."""

    def __init__(self, _: Path) -> None:
        self.clock = SteppingClock(START)
        self.fake = FakeServers(self.clock)
        self.port: ServerList = self.fake
        self.project = PROJECT

    def make(self) -> str:
        server_id = f"server-{len(self.fake.servers)}"
        self.fake.put(server_id, cluster_id="c1", node_id="n1")
        return server_id

    def vanish(self, server_id: str) -> None:
        self.fake.put(server_id, status="DELETED")

    def stop(self, server_id: str) -> None:
        self.fake.put(server_id, status="SHUTOFF")

    def go_down(self) -> None:
        self.fake.failure = unreachable("CloudUnreachable")


class EmulatedRegion:
    """The adapter, before the emulated cloud."""

    observer: str | None = None

    def __init__(self, folder: Path) -> None:
        self.clock = SteppingClock(START)
        self.cloud = Cloud(now=self.clock.now)
        self.tenant = Tenant(self.cloud)
        self.project = self.tenant.project_id
        http = requests.Session()
        http.mount(ORIGIN, CloudTransport(self.cloud))
        region = Region(
            name="sandbox",
            cloud="sandbox-service",
            observer_cloud=self.observer,
            mirror="http://mirror.invalid",
            releases_file=Path("releases.yaml"),
            agent_url="https://agents.invalid",
            observe_url="https://observe.invalid",
            signing_url="https://sign.invalid",
        )
        clouds = write_clouds_yaml(folder, ORIGIN)
        connect = connect_as(region, timedelta(seconds=8), http=http, clouds_file=clouds)
        self.port: ServerList = OpenStackServers(connect, inline, everywhere=self.observer is not None)

    def make(self) -> str:
        server_id = self.tenant.a_server(metadata={"slipway_cluster": "c1", "slipway_node": "n1"})
        self.clock.step(timedelta(minutes=1))
        return server_id

    def vanish(self, server_id: str) -> None:
        self.cloud.kill_server(server_id, "vanish")

    def stop(self, server_id: str) -> None:
        self.cloud.kill_server(server_id, "shutoff")

    def go_down(self) -> None:
        self.cloud.take_down()


class ObservedRegion(EmulatedRegion):
    """As above, with an observer who may list all projects."""

    observer = "sandbox-admin"


@pytest.fixture(params=[FakeRegion, EmulatedRegion, ObservedRegion], ids=["fake", "by project", "by observer"])
def region(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return request.param(tmp_path)


async def test_a_server_is_listed_with_its_node_and_found_by_id(region: Any) -> None:
    server_id = region.make()
    page = await region.port.list([region.project], None)
    [server] = page.servers
    assert (server.server_id, server.status, server.task_state) == (server_id, "ACTIVE", None)
    assert (server.project_id, server.cluster_id, server.node_id) == (region.project, "c1", "n1")
    assert await region.port.get(region.project, server_id) == server


async def test_changes_are_what_changed_since_deleted_servers_included(region: Any) -> None:
    quiet, stopped, lost = region.make(), region.make(), region.make()
    region.clock.step(timedelta(minutes=1))
    since = region.clock.now()
    region.stop(stopped)
    region.vanish(lost)
    changes = await region.port.list([region.project], since)
    assert {each.server_id: (each.status, each.gone) for each in changes.servers} == {
        stopped: ("SHUTOFF", False),
        lost: ("DELETED", True),
    }
    everything = await region.port.list([region.project], None)
    assert {each.server_id for each in everything.servers} == {quiet, stopped}
    assert await region.port.get(region.project, lost) is None


async def cause_of(region: Any) -> str:
    """Why nothing is listed: said by an exception, or with the page where each project is listed by itself."""
    try:
        page = await region.port.list([region.project], None)
    except RetryLater as failure:
        return failure.reason.code
    assert page.servers == []
    code: str = page.unreached[region.project].code
    return code


async def test_a_cloud_that_is_down_is_never_an_empty_list(region: Any) -> None:
    server_id = region.make()
    region.go_down()
    assert await cause_of(region) == "CloudUnreachable"
    with pytest.raises(RetryLater):
        await region.port.get(region.project, server_id)


class FakeStand:
    """The shipped fake."""

    def __init__(self) -> None:
        self.fake = FakeClusters(SteppingClock(datetime.now(UTC)))
        self.port: ClusterApi = self.fake
        self.target = Target("c1", "https://10.0.0.4:6443", "CA")

    def join(self, name: str, *, ready: bool) -> None:
        self.fake.join("c1", name, ready=ready, provider_id="openstack:///server")

    def go_down(self) -> None:
        self.fake.of("c1").failure = unreachable()


class RealStand:
    """The adapter, before an emulated API server."""

    def __init__(self, kubernetes: KubernetesEndpoint) -> None:
        self.kubernetes = kubernetes
        credentials = KeptCredentials(self.sign, SteppingClock(datetime.now(UTC)), timedelta(days=1))
        self.clusters = KubernetesClusters(credentials, timedelta(seconds=2))
        self.port: ClusterApi = self.clusters
        self.target = Target("c1", kubernetes.url, kubernetes.ca_pem)

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        key = x509.load_pem_x509_csr(csr_pem.encode()).public_key()
        certificate = self.kubernetes.authority.certify(key, "slipway:monitor", ("system:masters",))  # type: ignore[arg-type]
        return SignedCredential(
            certificate_pem=certificate,
            ca_pem=self.kubernetes.ca_pem,
            endpoint=self.kubernetes.url,
            expires_at=datetime.now(UTC) + lifetime,
        )

    def join(self, name: str, *, ready: bool) -> None:
        self.kubernetes.add_node(name, ready=ready, provider_id="openstack:///server")

    def go_down(self) -> None:
        self.kubernetes.etcd_ready = False


@pytest.fixture(params=["fake", "emulated"])
async def stand(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    if request.param == "fake":
        yield FakeStand()
        return
    async with serve_kubernetes(control_every=None) as kubernetes:
        real = RealStand(kubernetes)
        yield real
        await real.clusters.close()


async def test_a_cluster_without_nodes_has_no_leases(stand: Any) -> None:
    assert await stand.port.renewals(stand.target) == {}
    assert await stand.port.nodes(stand.target) == {}


async def test_kubelets_that_registered_are_seen_with_their_leases(stand: Any) -> None:
    stand.join("ready", ready=True)
    stand.join("waiting", ready=False)
    assert set(await stand.port.renewals(stand.target)) == {"ready", "waiting"}
    nodes = await stand.port.nodes(stand.target)
    assert {name: view.ready for name, view in nodes.items()} == {"ready": True, "waiting": False}
    assert {view.provider_id for view in nodes.values()} == {"openstack:///server"}


async def test_an_api_that_is_down_is_never_an_empty_list(stand: Any) -> None:
    stand.join("ready", ready=True)
    stand.go_down()
    with pytest.raises(RetryLater):
        await stand.port.renewals(stand.target)
    with pytest.raises(RetryLater):
        await stand.port.nodes(stand.target)


async def test_a_forgotten_cluster_can_be_looked_at_again(stand: Any) -> None:
    stand.join("ready", ready=True)
    await stand.port.renewals(stand.target)
    await stand.port.forget("c1")
    await stand.port.forget("c1")
    assert set(await stand.port.renewals(stand.target)) == {"ready"}
