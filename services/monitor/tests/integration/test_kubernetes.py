"""Looks into an emulated Kubernetes API through kubernetes-asyncio, over TLS with a signed client certificate."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_chassis.signing import KeptCredentials
from slipway_contracts.signing import SignedCredential
from slipway_monitor.adapters.kubernetes import KubernetesClusters
from slipway_monitor.ports import Target
from slipway_sandbox.machines.testing import KubernetesEndpoint, serve_kubernetes

LIFETIME = timedelta(hours=24)
TIMEOUT = timedelta(seconds=2)


class Signing:
    """Signs as the provisioner does, with the cluster's own CA."""

    def __init__(self, kubernetes: KubernetesEndpoint, clock: SteppingClock) -> None:
        self._kubernetes = kubernetes
        self._clock = clock
        self.user = "slipway:monitor"
        self.signed = 0

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        assert request.is_signature_valid
        self.signed += 1
        certificate = self._kubernetes.authority.certify(request.public_key(), self.user, lifetime=lifetime)
        return SignedCredential(
            certificate_pem=certificate,
            ca_pem=self._kubernetes.ca_pem,
            endpoint=self._kubernetes.url,
            expires_at=self._clock.now() + lifetime,
        )


class Stand:
    """An API with the monitor's read-only binding, and the adapter that looks at it."""

    def __init__(self, kubernetes: KubernetesEndpoint) -> None:
        self.kubernetes = kubernetes
        self.clock = SteppingClock(datetime.now(UTC))
        self.signing = Signing(kubernetes, self.clock)
        self.credentials = KeptCredentials(self.signing.sign, self.clock, LIFETIME)
        self.clusters = KubernetesClusters(self.credentials, TIMEOUT)
        self.target = Target("c1", kubernetes.url, kubernetes.ca_pem)
        rules = [
            {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "list", "watch"]},
        ]
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        kubernetes.request("POST", f"{rbac}/clusterroles", {"metadata": {"name": "slipway:monitor"}, "rules": rules})
        binding = {
            "metadata": {"name": "slipway:monitor"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "slipway:monitor"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "slipway:monitor"}],
        }
        kubernetes.request("POST", f"{rbac}/clusterrolebindings", binding)


def memory_files() -> list[str]:
    """The open files of this process that hold credentials."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(target) for target in map(os.readlink, links) if target.startswith("/memfd:slipway")]


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with serve_kubernetes(control_every=None) as kubernetes:
        made = Stand(kubernetes)
        yield made
        await made.clusters.close()
        await asyncio.sleep(0)


async def test_nodes_and_their_leases_are_seen(stand: Stand) -> None:
    stand.kubernetes.add_node("worker-1", provider_id="openstack:///server-1")
    stand.kubernetes.add_node("worker-2", ready=False)
    nodes = await stand.clusters.nodes(stand.target)
    assert (nodes["worker-1"].ready, nodes["worker-1"].provider_id) == (True, "openstack:///server-1")
    assert nodes["worker-2"].ready is False
    assert nodes["worker-2"].detail
    renewals = await stand.clusters.renewals(stand.target)
    assert set(renewals) == {"worker-1", "worker-2"}
    assert abs(datetime.now(UTC) - renewals["worker-1"]) < timedelta(seconds=30)


async def test_all_pages_are_read(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slipway_monitor.adapters.kubernetes.PAGE", 2)
    names = {f"worker-{number}" for number in range(5)}
    for name in names:
        stand.kubernetes.add_node(name)
    assert set(await stand.clusters.nodes(stand.target)) == names


async def test_a_credential_is_kept_and_renewed_at_half_life(stand: Stand) -> None:
    await stand.clusters.renewals(stand.target)
    stand.clock.step(LIFETIME / 2 - timedelta(minutes=1))
    await stand.clusters.renewals(stand.target)
    assert stand.signing.signed == 1
    stand.clock.step(timedelta(minutes=2))
    await stand.clusters.renewals(stand.target)
    assert stand.signing.signed == 2


async def test_no_file_with_a_key_stays_open(stand: Stand) -> None:
    await stand.clusters.renewals(stand.target)
    assert memory_files() == []


async def test_a_persona_without_binding_is_refused_with_the_apis_own_words(stand: Stand) -> None:
    stand.signing.user = "somebody"
    with pytest.raises(RetryLater) as caught:
        await stand.clusters.nodes(stand.target)
    assert caught.value.reason.code == "ApiRefused"
    assert "403" in caught.value.reason.message


async def test_an_api_without_its_etcd_is_a_failure_and_not_an_empty_list(stand: Stand) -> None:
    stand.kubernetes.add_node("worker-1")
    stand.kubernetes.etcd_ready = False
    with pytest.raises(RetryLater) as caught:
        await stand.clusters.renewals(stand.target)
    assert caught.value.reason.code in {"ApiRefused", "ApiTimeout"}


async def test_an_endpoint_where_nobody_listens_is_unreachable(stand: Stand) -> None:
    dead = Target("c1", "https://127.0.0.1:9", stand.target.ca_pem)
    with pytest.raises(RetryLater) as caught:
        await stand.clusters.renewals(dead)
    assert caught.value.reason.code == "ApiUnreachable"


async def test_an_endpoint_with_another_clusters_certificate_is_not_believed(stand: Stand) -> None:
    async with serve_kubernetes(control_every=None) as other:
        wrong = Target("c1", other.url, stand.target.ca_pem)
        with pytest.raises(RetryLater) as caught:
            await stand.clusters.renewals(wrong)
    assert caught.value.reason.code == "ApiUnreachable"


async def test_an_endpoint_that_accepts_and_says_nothing_ends_within_the_timeout(stand: Stand) -> None:
    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await closing.wait()
        writer.close()

    closing = asyncio.Event()
    server = await asyncio.start_server(never, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent = KubernetesClusters(stand.credentials, timedelta(milliseconds=200))
    try:
        with pytest.raises(RetryLater) as caught:
            await silent.renewals(Target("c1", f"https://127.0.0.1:{port}", stand.target.ca_pem))
        assert caught.value.reason.code == "ApiTimeout"
    finally:
        await silent.close()
        closing.set()
        server.close()
        await server.wait_closed()
