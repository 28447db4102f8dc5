"""The real driver with real openssl against a real TLS server that plays provisioner, monitor and mirror."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.driver import Driver
from slipway_node_agent.effects import Call, CallFailed, Fetch, Fetched, Probe, Reply
from slipway_node_agent.real_host import RealHost
from slipway_node_agent.testing import NODE, TOKEN, a_plan
from slipway_node_agent.transport import perform_call, perform_fetch, perform_probe

from .a_pki import Authority

PROGRAM = b"#!/bin/sh\necho made > $1\n"


def a_package() -> bytes:
    """An archive with that program."""
    buffer, entry = io.BytesIO(), tarfile.TarInfo("bin/packed")
    entry.size, entry.mode = len(PROGRAM), 0o755
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(entry, io.BytesIO(PROGRAM))
    return buffer.getvalue()


PACKAGE = a_package()


class Region:
    """What the server knows and was told."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.changed = threading.Condition()
        self.plan: dict[str, Any] | None = None
        self.told: dict[str, list[dict[str, Any]]] = {"claim": [], "report": [], "observations": []}
        self.port = 0

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def note(self, kind: str, body: dict[str, Any]) -> None:
        with self.changed:
            self.told[kind].append(body)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout=20), self.told


class Handler(http.server.BaseHTTPRequestHandler):
    region: Region

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass

    def answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, body: dict[str, Any]) -> None:
        self.answer(200, json.dumps(body).encode())

    def known(self) -> bool:
        assert isinstance(self.connection, ssl.SSLSocket)
        return bool(self.connection.getpeercert())

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/v1/agent/time":
            self.answer_json({"now": datetime.now(timezone.utc).isoformat()})
        elif path == "/kubelet":
            self.answer(200, PROGRAM)
        elif path == "/healthz":
            self.answer(503)
        elif path == "/v1/agent/plan" and self.known():
            after = int(self.path.partition("after=")[2].partition("&")[0])
            plan = self.region.plan
            self.answer_json(plan) if plan and plan["revision"] > after else self.answer(204)
        else:
            self.answer(401, b'{"title": "no client certificate"}')

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.rpartition("/")[2]
        if kind == "claim":
            self.region.note(kind, body)
            signed = self.region.authority.sign(body["csr_pem"])
            identity = {"certificate_pem": signed, "ca_pem": self.region.authority.pem}
            self.answer_json({**identity, "observe_url": self.region.origin, "observe_every": 0.1})
        elif not self.known():
            self.answer(401)
        elif kind == "certificates":
            sign = self.region.authority.sign
            signed_all = [{"name": r["name"], "certificate_pem": sign(r["csr_pem"])} for r in body["requests"]]
            self.answer_json({"certificates": signed_all})
        else:
            self.region.note(kind, body)
            self.answer(204)


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Region]:
    region = Region(tmp_path / "ca")
    cert, key = region.authority.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(cert), str(key))
    context.load_verify_locations(str(region.authority.certificate))
    context.verify_mode = ssl.CERT_OPTIONAL
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"region": region}))
    # The handshake belongs to the connection's own thread: a client that breaks it off must not stop the listener.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    region.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield region
    server.shutdown()
    thread.join(5)
    server.server_close()


@pytest.fixture
def host(tmp_path: Path, region: Region) -> RealHost:
    host = RealHost(str(tmp_path / "root"))
    bootstrap = {"url": region.origin, "ca_pem": region.authority.pem, "token": TOKEN, "node_id": NODE}
    host.write_file("/etc/slipway/agent.json", json.dumps(bootstrap), 0o600)
    return host


def test_an_agent_claims_applies_reports_and_observes_over_mutual_tls(
    region: Region, host: RealHost, mirror: str
) -> None:
    program = "/usr/local/bin/maker"
    files = [
        {"kind": "artifact", "url": mirror + "/ok", "sha256": hashlib.sha256(PROGRAM).hexdigest(), "path": program},
        {"kind": "file", "path": "/pki/ca.crt", "content": region.authority.pem},
        {"kind": "certificate", "name": "client", "key_path": "/pki/c.key", "cert_path": "/pki/c.crt"},
        {"kind": "command", "argv": [str(host.locate(program)), str(host.locate("/made"))], "creates": "/made"},
    ]
    package = {
        "kind": "package",
        "name": "packed",
        "programs": ["packed"],
        "places": ["/opt/bin"],
        "url": mirror + "/package",
        "sha256": hashlib.sha256(PACKAGE).hexdigest(),
        "folder": "/opt",
        "archive": True,
    }
    health = {
        "kind": "http_probe",
        "url": region.origin + "/healthz",
        "statuses": [503],
        "ca_path": "/pki/ca.crt",
        "cert_path": "/pki/c.crt",
        "key_path": "/pki/c.key",
        "waiting_code": "Waiting",
        "waiting": "it starts",
    }
    region.plan = a_plan(("files", [*files, package]), ("health", [health]))
    driver = Driver(host, AgentConfig())
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(driver.run()))
    thread.start()
    try:
        region.wait_for(lambda: bool(region.told["report"]) and region.told["report"][-1]["state"] == "done")
        region.wait_for(lambda: any(seen["applied_revision"] == 1 for seen in region.told["observations"]))
    finally:
        driver.stop()
        thread.join(10)
    assert codes == [0]
    assert region.told["claim"][0]["token"] == TOKEN
    assert host.read_file("/made") == "made\n"
    assert host.locate("/opt/bin/packed").read_bytes() == PROGRAM
    assert host.mode("/opt/bin/packed") == 0o755
    assert not host.exists("/var/lib/slipway/packages/packed.tar.gz")
    assert host.mode("/var/lib/slipway/agent.key") == 0o600
    facts = host.certificate(host.read_file("/pki/c.crt") or "")
    assert facts is not None
    assert facts.public_key == host.public_key(host.read_file("/pki/c.key") or "")
    seen = [{"name": "health", "healthy": True, "saw": "503 Service Unavailable"}]
    assert region.told["observations"][-1]["probes"] == seen


def test_without_a_bootstrap_the_process_ends_with_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Driver(RealHost(str(tmp_path)), AgentConfig()).run() == 1
    assert "BootstrapMissing" in capsys.readouterr().out


def test_a_machine_whose_files_cannot_be_used_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = RealHost(str(tmp_path))
    host.locate("/etc/slipway/agent.json").mkdir(parents=True)
    assert Driver(host, AgentConfig()).run() == 1
    assert "Is a directory" in capsys.readouterr().out


def trusted(host: RealHost, region: Region) -> None:
    host.write_file("/trust.crt", region.authority.pem, 0o644)


def test_a_call_brings_status_body_and_headers(host: RealHost, region: Region) -> None:
    trusted(host, region)
    reply = perform_call(Call("GET", "provisioner", "/v1/agent/plan?after=0", region.origin, "/trust.crt"), host.locate)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (401, {"title": "no client certificate"}, "7")


def test_a_server_of_another_authority_or_name_is_not_talked_to(host: RealHost, region: Region, tmp_path: Path) -> None:
    trusted(host, region)
    host.write_file("/other.crt", Authority(tmp_path / "other", "another CA").pem, 0o644)
    for origin, trust in ((region.origin, "/other.crt"), (f"https://localhost:{region.port}", "/trust.crt")):
        failed = perform_call(Call("GET", "provisioner", "/v1/agent/time", origin, trust), host.locate)
        assert isinstance(failed, CallFailed)
        assert "certificate is not accepted" in failed.message


def test_faults_become_sentences(host: RealHost, region: Region) -> None:
    trusted(host, region)
    calls = {
        "connection refused": Call("GET", "provisioner", "/", "https://127.0.0.1:1", "/trust.crt"),
        "No such file or directory": Call("GET", "provisioner", "/", region.origin, "/none.crt"),
        "the URL has no host": Call("GET", "provisioner", "/", "https://", "/trust.crt"),
    }
    for cause, call in calls.items():
        failed = perform_call(call, host.locate)
        assert isinstance(failed, CallFailed)
        assert cause in failed.message
    seen = perform_probe(Probe(region.origin + "/healthz", "/none.crt"), host.locate)
    assert seen.status is None
    assert "No such file" in seen.saw


class Plain(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        content = PACKAGE if self.path == "/package" else PROGRAM
        self.send_header("Content-Length", str(len(content) + (5 if self.path == "/torn" else 0)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def mirror() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join(5)
    server.server_close()


def test_a_download_appears_whole_and_checked_or_not_at_all(mirror: str, tmp_path: Path) -> None:
    host, path = RealHost(str(tmp_path)), "/opt/bin/x"
    digest = hashlib.sha256(PROGRAM).hexdigest()
    for url, wanted in ((mirror + "/ok", "0" * 64), (mirror + "/missing", digest), (mirror + "/torn", digest)):
        answer = perform_fetch(Fetch(url, path, wanted, 0o755), host.locate)
        assert answer == Fetched(digest) if url.endswith("/ok") else isinstance(answer, CallFailed)
        assert list(host.locate("/opt/bin").iterdir()) == []
    assert isinstance(perform_fetch(Fetch("file:///etc/passwd", path, digest, 0o755), host.locate), CallFailed)
    assert perform_fetch(Fetch(mirror + "/ok", path, digest, 0o755), host.locate) == Fetched(digest)
    assert host.locate(path).read_bytes() == PROGRAM
    assert host.mode(path) == 0o755
    assert perform_probe(Probe(mirror + "/missing"), host.locate).saw == "404 Not Found"
