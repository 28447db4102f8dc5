"""Emulated hosts: disk, loopback, units and commands."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from slipway_node_agent.effects import Probe
from slipway_node_agent.host import HostRefused
from slipway_sandbox.machines.authority import Authority
from slipway_sandbox.machines.certificates import decide_pair_fault, decide_refusal
from slipway_sandbox.machines.commands import run_command
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.loopback import Endpoint
from slipway_sandbox.machines.testing.waiting import until
from slipway_sandbox.machines.units import UnitManager
from slipway_sandbox.machines.world import Pace, World

NOW = datetime.now(UTC)
FAST = Pace(boot=0.0, program_start=0.0, command=0.0, static_pod_start=0.0)


@pytest.fixture
def host() -> EmulatedHost:
    return EmulatedHost("node-1", "127.77.250.1", lambda: datetime.now(UTC), time.monotonic)


@pytest.fixture
async def units(host: EmulatedHost) -> AsyncIterator[UnitManager]:
    world = World(pace=FAST)
    manager = UnitManager(host, world, lambda _: None)
    host.attach(manager)
    yield manager
    await manager.stop_all()
    await world.close()


def a_unit(path: str = "/usr/bin/env", restart: str = "no") -> str:
    return f"[Service]\nExecStart={path}\nRestart={restart}\n"


def test_a_key_and_its_request_belong_together(host: EmulatedHost) -> None:
    key = host.generate_key()
    assert "BEGIN CERTIFICATE REQUEST" in host.make_csr(key, "node-1")
    issued = Authority("ca").issue("node-1")
    facts = host.certificate(issued.certificate_pem)
    assert facts is not None
    assert facts.public_key == host.public_key(issued.key_pem) != host.public_key(key)


def test_a_boot_changes_the_boot_id_and_keeps_the_disk(host: EmulatedHost) -> None:
    host.write_file("/etc/x", "1", 0o600)
    before = host.boot_id()
    host.booted()
    assert (host.boot_id() != before, host.read_file("/etc/x"), host.mode("/etc/x")) == (True, "1", 0o600)


AUTHORITY = Authority("ca")
ISSUED = AUTHORITY.issue("server", names=("127.0.0.1",))
OTHER = Authority("other")


@pytest.mark.parametrize(
    ("certificate", "authority", "name", "now", "expected"),
    [
        pytest.param(ISSUED.certificate_pem, AUTHORITY.certificate_pem, "127.0.0.1", NOW, None, id="good"),
        pytest.param(ISSUED.certificate_pem, OTHER.certificate_pem, None, NOW, "unknown authority", id="other CA"),
        pytest.param(
            ISSUED.certificate_pem, AUTHORITY.certificate_pem, None, NOW + timedelta(days=2), "expired", id="expired"
        ),
        pytest.param(
            ISSUED.certificate_pem, AUTHORITY.certificate_pem, "10.0.0.1", NOW, "not 10.0.0.1", id="other name"
        ),
        pytest.param("", AUTHORITY.certificate_pem, None, NOW, "no certificate", id="none"),
    ],
)
def test_certificates_are_judged_as_in_a_handshake(
    certificate: str, authority: str, name: str | None, now: datetime, expected: str | None
) -> None:
    refusal = decide_refusal(certificate, authority, now, name)
    assert refusal is None if expected is None else expected in (refusal or "")


def test_a_key_of_another_certificate_is_a_fault() -> None:
    other = OTHER.issue("x")
    assert decide_pair_fault(ISSUED.certificate_pem, ISSUED.key_pem) is None
    assert "does not match" in (decide_pair_fault(ISSUED.certificate_pem, other.key_pem) or "")


@pytest.mark.parametrize(
    ("url", "ca", "cert", "status", "saw"),
    [
        pytest.param("http://127.0.0.1:1/healthz", None, None, None, "connection refused", id="nobody listens"),
        pytest.param("http://127.0.0.1:10/healthz", None, None, 200, "200 OK", id="plain"),
        pytest.param("https://127.0.0.1:20/healthz", "/ca", "/client", 200, "200 OK", id="mutual TLS"),
        pytest.param("https://127.0.0.1:20/healthz", "/ca", None, None, "refused the client", id="no certificate"),
        pytest.param("https://127.0.0.1:20/healthz", "/other", "/client", None, "unknown authority", id="wrong CA"),
        pytest.param("https://127.0.0.1:20/healthz", None, "/client", None, "not accepted", id="no CA"),
        pytest.param("http://127.0.0.1:20/healthz", None, None, None, "TLS", id="plain to a TLS port"),
    ],
)
def test_probes_of_the_loopback_meet_this_hosts_programs(
    host: EmulatedHost, url: str, ca: str | None, cert: str | None, status: int | None, saw: str
) -> None:
    host.write_file("/ca", AUTHORITY.certificate_pem, 0o644)
    host.write_file("/other", OTHER.certificate_pem, 0o644)
    host.write_file("/client", AUTHORITY.issue("client").certificate_pem, 0o644)
    host.loopback.open(10, Endpoint(lambda _: (200, "ok")))
    host.loopback.open(20, Endpoint(lambda _: (200, "ok"), ISSUED.certificate_pem, AUTHORITY.certificate_pem))
    answer = host.loopback.probe(Probe(url, ca, cert, None), host.disk, NOW)
    assert answer.status == status
    assert saw in answer.saw


async def test_a_unit_without_an_emulated_program_runs_once_started(host: EmulatedHost, units: UnitManager) -> None:
    host.write_file("/etc/systemd/system/x.service", a_unit(), 0o644)
    assert host.unit_states(["x.service", "no.service"]) == {"x.service": "inactive", "no.service": "absent"}
    host.restart_unit("x.service")
    await until(lambda: host.unit_states(["x.service"])["x.service"] == "active")
    assert "x.service" in units.enabled


async def test_a_unit_whose_program_is_missing_fails_and_says_so(host: EmulatedHost, units: UnitManager) -> None:
    host.write_file("/etc/systemd/system/x.service", a_unit("/opt/no/such"), 0o644)
    host.restart_unit("x.service")
    await until(lambda: host.unit_states(["x.service"])["x.service"] == "failed")
    assert "/opt/no/such: No such file or directory" in host.unit_log("x.service")


async def test_a_unit_that_does_not_exist_is_refused(host: EmulatedHost, units: UnitManager) -> None:
    with pytest.raises(HostRefused, match="not found"):
        host.restart_unit("no.service")


async def test_a_unit_that_restarts_always_comes_up_when_its_program_appears(
    host: EmulatedHost, units: UnitManager
) -> None:
    host.write_file("/etc/systemd/system/x.service", a_unit("/opt/x", "always"), 0o644)
    host.restart_unit("x.service")
    await until(lambda: "No such file" in host.unit_log("x.service"))
    host.disk.install("/opt/x", "digest", 0o755, "http://mirror/v1.36.3/x")
    await until(lambda: host.unit_states(["x.service"])["x.service"] == "active")


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        pytest.param(("modprobe", "overlay"), 0, "", id="known"),
        pytest.param(("/usr/sbin/sysctl", "--system"), 0, "Applying", id="with a path"),
        pytest.param(("kubectl", "get"), 127, "command not found", id="not installed"),
        pytest.param(("/opt/slipway/v1/kubeadm", "init"), 127, "command not found", id="no such path"),
        pytest.param(("sh", "-c", "true"), 127, "not emulated", id="not emulated"),
        pytest.param(("systemctl", "start", "no.service"), 5, "not found", id="systemctl of nothing"),
        pytest.param(("systemctl", "stop", "no.service"), 5, "not found", id="a stop of nothing"),
        pytest.param(("systemctl", "dance"), 1, "Unknown command verb", id="no verb"),
        pytest.param(("containerd", "config", "default"), 0, "version = 2", id="containerd's config"),
    ],
)
async def test_commands(host: EmulatedHost, units: UnitManager, argv: tuple[str, ...], code: int, says: str) -> None:
    ended = run_command(host, units, argv)
    assert ended.exit_code == code
    assert says in ended.output


async def test_systemctl_starts_stops_and_tells(host: EmulatedHost, units: UnitManager) -> None:
    assert run_command(host, units, ("systemctl", "enable", "--now", "containerd")).exit_code == 5
    run_command(host, units, ("systemctl", "start", "containerd.service"))
    await until(lambda: units.states(["containerd.service"])["containerd.service"] == "active")
    assert run_command(host, units, ("systemctl", "is-active", "containerd.service")).exit_code == 0
    run_command(host, units, ("systemctl", "stop", "containerd.service"))
    assert run_command(host, units, ("systemctl", "is-active", "containerd.service")).exit_code == 3
