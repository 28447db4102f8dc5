"""The Kubernetes APIs that these suites run against: always the emulated one, real programs where they are.

The real one is an etcd and a kube-apiserver on loopback, without controllers and kubelets: what is tested is the API.
"""

import http.client
import os
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from slipway_sandbox.machines.authority import Authority, Credential, private_key_pem
from slipway_sandbox.machines.testing import serve_kubernetes

ASSETS = os.environ.get("KUBEBUILDER_ASSETS", "")
HOW = "no real Kubernetes API: set KUBEBUILDER_ASSETS to a folder with etcd and kube-apiserver (setup-envtest has them)"
BOUND = 60.0
"""Seconds that the programs may take to be ready on a busy machine."""


class KubernetesUnderTest(Protocol):
    """What a suite needs of an API server; `slipway_sandbox.machines.testing.KubernetesEndpoint` has it."""

    url: str

    @property
    def ca_pem(self) -> str: ...

    def credential(self, user: str, groups: tuple[str, ...] = (), lifetime: timedelta = ...) -> Credential: ...


@dataclass(frozen=True)
class RealKubernetes:
    """A real kube-apiserver and the CA of its clients."""

    url: str
    authority: Authority

    @property
    def ca_pem(self) -> str:
        return self.authority.certificate_pem

    def credential(
        self, user: str, groups: tuple[str, ...] = (), lifetime: timedelta = timedelta(hours=1)
    ) -> Credential:
        return self.authority.issue(user, groups, lifetime=lifetime)


@pytest.fixture(scope="session")
def real_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKubernetes]:
    """A real etcd and kube-apiserver, until the session ends."""
    if not all((Path(ASSETS) / program).exists() for program in ("etcd", "kube-apiserver")) or not ASSETS:
        pytest.skip(HOW)
    folder = tmp_path_factory.mktemp("kubernetes")
    authority = Authority("kubernetes")
    etcd_port, peer_port, port = _free_ports(3)
    _write_pki(folder, authority)
    with ExitStack() as programs:
        programs.enter_context(_running(folder, _etcd(folder, etcd_port, peer_port)))
        server = programs.enter_context(_running(folder, _api_server(folder, etcd_port, port)))
        _await_ready(port, authority, server, folder)
        yield RealKubernetes(f"https://127.0.0.1:{port}", authority)


SERVERS = ["emulated", pytest.param("real", marks=pytest.mark.integration)]

Serve = Callable[[str], AbstractAsyncContextManager[KubernetesUnderTest]]


@pytest.fixture
def serve(request: pytest.FixtureRequest) -> Serve:
    """Opens the API server of a name: emulated or real."""

    @asynccontextmanager
    async def served(name: str) -> AsyncIterator[KubernetesUnderTest]:
        if name == "real":
            yield request.getfixturevalue("real_apiserver")
            return
        async with serve_kubernetes(control_every=None) as endpoint:
            yield endpoint

    return served


@pytest.fixture(params=SERVERS)
async def kubernetes(request: pytest.FixtureRequest, serve: Serve) -> AsyncIterator[KubernetesUnderTest]:
    """Each of the API servers that there are."""
    async with serve(request.param) as found:
        yield found


@pytest.fixture
def unique() -> str:
    """For names: the real API server is shared by all tests of a session."""
    return secrets.token_hex(4)


def _write_pki(folder: Path, authority: Authority) -> None:
    served = authority.issue("kube-apiserver", names=("127.0.0.1", "localhost", "kubernetes", "10.96.0.1"))
    accounts = ec.generate_private_key(ec.SECP256R1())
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    files = {
        "ca.crt": authority.certificate_pem,
        "apiserver.crt": served.certificate_pem,
        "apiserver.key": served.key_pem,
        "sa.key": private_key_pem(accounts),
        "sa.pub": public.decode(),
    }
    for name, content in files.items():
        (folder / name).write_text(content)


def _etcd(folder: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        f"{ASSETS}/etcd",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync=true",
        "--log-level=warn",
    ]


def _api_server(folder: Path, etcd_port: int, port: int) -> list[str]:
    """Authorization and admission as kubeadm sets them."""
    return [
        f"{ASSETS}/kube-apiserver",
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--tls-cert-file={folder}/apiserver.crt",
        f"--tls-private-key-file={folder}/apiserver.key",
        f"--client-ca-file={folder}/ca.crt",
        f"--service-account-key-file={folder}/sa.pub",
        f"--service-account-signing-key-file={folder}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


@contextmanager
def _running(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def _await_ready(port: int, authority: Authority, server: subprocess.Popen[bytes], folder: Path) -> None:
    context = ssl.create_default_context(cadata=authority.certificate_pem)
    deadline = datetime.now(UTC) + timedelta(seconds=BOUND)
    while datetime.now(UTC) < deadline and server.poll() is None:
        if _is_ready(port, context):
            return
        time.sleep(0.1)
    log = (folder / "kube-apiserver.log").read_text()[-2000:]
    raise AssertionError(f"kube-apiserver was not ready within {BOUND} s:\n{log}")


def _is_ready(port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _free_ports(number: int) -> list[int]:
    """Different ones: all are held until the last is found."""
    with ExitStack() as held:
        found = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(each.getsockname()[1]) for each in found]
