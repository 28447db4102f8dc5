"""The real agent applies real plans through the real listener: its loop, its files and openssl, mutual TLS.

Only what would change this machine is pretended: systemd, the programs and the health endpoints.
"""

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway_chassis.clock import SteppingClock
from slipway_chassis.testing import a_database
from slipway_chassis.tls import make_service_pki
from slipway_contracts.values import Role
from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import (
    Answer,
    Call,
    CallFailed,
    Effect,
    Execute,
    Executed,
    Fetch,
    Fetched,
    Probe,
    ProbeAnswer,
    Wait,
)
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.real_host import RealHost
from slipway_node_agent.systemd import Systemd
from slipway_node_agent.transport import perform_call
from slipway_provisioner.domain.pki import Authority
from slipway_provisioner.domain.plans.testing import plan_inputs
from slipway_provisioner.peers import PeerAuthorities
from slipway_provisioner.plan_progress import plan_progress
from slipway_provisioner.servers import build_application, server_context, serving
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.interfaces import PROGRAM, Interfaces

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the agent needs openssl in the PATH")

MOST_EFFECTS = 300


class PretendedSystemd(Systemd):
    """Units become active when they are started."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[str] = []

    def restart(self, name: str) -> None:
        self.started.append(name)

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        return {name: "active" if name in self.started else "inactive" for name in names}

    def log(self, name: str) -> str:
        return ""


@dataclass
class Machine:
    """A server whose disk is a folder."""

    root: Path
    user_data: str
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.systemd = PretendedSystemd()
        self.host = RealHost(str(self.root), self.systemd)
        for file in yaml.safe_load(self.user_data)["write_files"]:
            self.host.write_file(file["path"], file["content"], int(file["permissions"], 8))

    async def apply(self) -> None:
        """Run the agent until its plan is applied and reported, in a bounded number of effects."""
        loop = plan_loop(self.host, AgentConfig(poll_wait=0))
        answer: Answer = None
        for _ in range(MOST_EFFECTS):
            effect = loop.send(answer)
            self.effects.append(effect)
            if isinstance(effect, Wait) and self._is_done():
                loop.close()
                return
            answer = await self._perform(effect)
        raise AssertionError(f"not applied after {MOST_EFFECTS} effects: {self.effects[-6:]}")

    def _is_done(self) -> bool:
        reports = [each.body for each in self.effects if isinstance(each, Call) and each.path.endswith("/report")]
        return bool(reports) and reports[-1] is not None and reports[-1]["state"] == "done"

    async def _perform(self, effect: Effect) -> Answer:
        if isinstance(effect, Call):
            return await asyncio.to_thread(perform_call, effect, self.host.locate)
        if isinstance(effect, Fetch):
            return self._fetch(effect)
        if isinstance(effect, Probe):
            return ProbeAnswer(200, "200")
        if isinstance(effect, Execute):
            return _version(effect) or self._kubeadm(effect)
        return None

    def _fetch(self, effect: Fetch) -> Fetched | CallFailed:
        """The mirror's file: this test's digests belong to no content, so only that it is asked for is pretended."""
        self.host.write_file(effect.path, effect.url, effect.mode)
        return Fetched(effect.sha256)

    def _kubeadm(self, effect: Execute) -> Executed:
        """Insists on what kubeadm insists on."""
        needed = [f"/etc/kubernetes/{name}.conf" for name in ("admin", "super-admin", "kubelet", "scheduler")]
        missing = [path for path in needed if not self.host.exists(path)]
        if missing or effect.argv[1:5] != ("init", "phase", "control-plane", "all"):
            return Executed(1, f"missing: {missing}")
        self.host.write_file("/etc/kubernetes/manifests/kube-apiserver.yaml", "pod", 0o600)
        return Executed(0, "")


def _version(effect: Execute) -> Executed | None:
    """What the image's programs say of themselves."""
    if effect.argv[-1] != "--version":
        return None
    versions = {"containerd": "containerd github.com/containerd/containerd/v2 v2.1.4", "runc": "runc version 1.3.0"}
    return Executed(0, versions[effect.argv[0].rpartition("/")[2]])


@dataclass
class Listener:
    """The interfaces behind their TLS listener."""

    bench: Interfaces
    port: int
    folder: Path

    def client(self, certificate: str | None = None) -> ssl.SSLContext:
        """A service's or nobody's TLS context."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        if certificate is not None:
            context.load_cert_chain(self.folder / f"{certificate}.pem", self.folder / f"{certificate}.key")
        return context

    async def get(self, path: str, context: ssl.SSLContext, method: str = "GET", body: bytes = b"") -> bytes:
        """A raw request; the whole answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
        return answer


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[Listener]:
    folder = tmp_path / "pki"
    make_service_pki(folder, ["127.0.0.1"])
    database = await a_database(tmp_path, metadata)
    bench = Interfaces(database, clock=SteppingClock(datetime.now(UTC)))
    services, agents = (folder / "ca.pem").read_text(), (folder / "agent-ca.pem").read_text()
    bench.adopt(PeerAuthorities(services, agents), Authority(agents, (folder / "agent-ca.key").read_text()))
    await bench.add_cluster()
    application = build_application(bench.agent_api.dispatch, bench.signing_api.dispatch, bench.authorities)
    context = server_context(folder / "provisioner.pem", folder / "provisioner.key", bench.authorities)
    async with serving(application, context, "127.0.0.1", 0, bench.agent_api.stop) as port:
        bench.url = f"https://127.0.0.1:{port}"
        yield Listener(bench, port, folder)
    await database.close()


@pytest.mark.parametrize(
    ("role", "units"),
    [
        (Role.ETCD, ["etcd.service"]),
        (Role.CONTROLLER, ["slipway-machine.service", "containerd.service", "kubelet.service"]),
        (Role.WORKER, ["slipway-machine.service", "containerd.service", "kubelet.service"]),
    ],
)
async def test_the_agent_applies_the_plan(listener: Listener, tmp_path: Path, role: Role, units: list[str]) -> None:
    bench = listener.bench
    machine = Machine(tmp_path / "disk", await bench.user_data(role))
    await bench.plan(role)
    await machine.apply()
    assert machine.systemd.started == units
    async with bench.database.reading() as session:
        progress = await plan_progress(session, plan_inputs(role).node.node_id, bench.clock.now())
    assert (progress.applied, progress.percent, progress.claimed) == (True, 100, True)
    assert not machine.host.exists("/etc/kubernetes/admin.conf"), "admin credentials do not stay"
    assert not machine.host.exists("/etc/kubernetes/pki/super-admin.key")


async def test_applying_a_plan_again_changes_nothing(listener: Listener, tmp_path: Path) -> None:
    bench = listener.bench
    machine = Machine(tmp_path / "disk", await bench.user_data(Role.CONTROLLER))
    await bench.plan(Role.CONTROLLER)
    await machine.apply()
    before, started = snapshot(machine.root), list(machine.systemd.started)
    machine.effects.clear()
    await machine.apply()
    assert not [each for each in machine.effects if isinstance(each, Execute) and each.argv[-1] != "--version"]
    assert not [each for each in machine.effects if isinstance(each, Call) and each.path.endswith("/certificates")]
    assert (snapshot(machine.root), machine.systemd.started) == (before, started)


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.rglob("*")) if file.is_file()}


async def test_everybody_may_fetch_the_program_and_nobody_else_gets_a_plan(listener: Listener) -> None:
    answer = await listener.get("/v1/agent/program", listener.client())
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(PROGRAM)
    assert (await listener.get("/v1/agent/plan", listener.client())).startswith(b"HTTP/1.1 401")
    assert (await listener.get("/v1/agent/plan", listener.client("monitor"))).startswith(b"HTTP/1.1 401")


async def test_the_services_certificate_decides_who_asks(listener: Listener) -> None:
    path = "/v1/clusters/unknown/credentials"
    body = b'{"persona": "monitor", "csr_pem": "x", "lifetime": 60}'
    assert (await listener.get(path, listener.client("monitor"), "POST", body)).startswith(b"HTTP/1.1 404")
    assert (await listener.get(path, listener.client("api"), "POST", body)).startswith(b"HTTP/1.1 403")
    assert (await listener.get(path, listener.client(), "POST", body)).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"\xff\xfe", b"[" * 200_000], ids=["broken", "a list", "not text", "too deep"]
)
async def test_a_body_that_is_no_json_object_is_refused(listener: Listener, body: bytes) -> None:
    answer = await listener.get("/v1/agent/claim", listener.client(), "POST", body)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in answer


async def test_a_certificate_of_a_strangers_authority_does_not_get_in(listener: Listener, tmp_path: Path) -> None:
    make_service_pki(tmp_path / "strangers", ["127.0.0.1"])
    context = listener.client()
    context.load_cert_chain(tmp_path / "strangers" / "api.pem", tmp_path / "strangers" / "api.key")
    answer = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError):  # TLS 1.3 tells the client only when it reads
        answer = await listener.get("/v1/agent/time", context)
    assert answer == b""


async def test_a_database_that_is_away_is_answered_with_try_again(listener: Listener) -> None:
    async def broken(*_: Any) -> Any:
        raise ConnectionError("the database is away")

    application = build_application(broken, broken, listener.bench.authorities)
    folder = listener.folder
    context = server_context(folder / "provisioner.pem", folder / "provisioner.key", listener.bench.authorities)
    async with serving(application, context, "127.0.0.1", 0) as port:
        other = Listener(listener.bench, port, folder)
        answer = await other.get("/v1/agent/time", other.client())
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"Retry-After" in answer
    assert b"away" not in answer
