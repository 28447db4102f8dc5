"""The real machine under a folder: files, openssl, processes; systemctl is a small program with the same answers."""

from __future__ import annotations

import hashlib
import os
import select
import sys
from pathlib import Path

import pytest

from slipway_node_agent.host import HostRefused
from slipway_node_agent.process import run_program
from slipway_node_agent.real_host import RealHost
from slipway_node_agent.systemd import Systemd

from .a_pki import Authority

SYSTEMCTL = """#!/bin/sh
# Keeps one file per unit in $0.units/ whose content is its state.
cd "$(dirname "$0")/units"
verb=$1; shift
case $verb in
daemon-reload) ;;
enable) touch "../enabled-$1" ;;
reset-failed) test -f "$1" || exit 1 ;;
restart) test -f "$2" || { echo "Failed to restart $2: Unit $2 not found." >&2; exit 5; }; echo active > "$2" ;;
show) shift 2; first=yes; for unit; do
  test $first = yes || echo; first=no
  if test -f "$unit"; then echo LoadState=loaded; echo ActiveState=$(cat "$unit")
  else echo LoadState=not-found; echo ActiveState=inactive; fi; done ;;
*) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
"""


@pytest.fixture
def host(tmp_path: Path) -> RealHost:
    programs = tmp_path / "programs"
    (programs / "units").mkdir(parents=True)
    for name, text in {"systemctl": SYSTEMCTL, "journalctl": '#!/bin/sh\necho "$2 panicked"\n'}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return RealHost(str(tmp_path / "root"), Systemd(str(programs)))


def unit(tmp_path: Path, name: str, state: str) -> None:
    (tmp_path / "programs" / "units" / name).write_text(state + "\n")


def test_files_are_written_whole_with_their_mode_and_leave_nothing_behind(host: RealHost) -> None:
    host.write_file("/etc/a/b.conf", "one", 0o600)
    host.write_file("/etc/a/b.conf", "two", 0o640)
    assert (host.read_file("/etc/a/b.conf"), host.mode("/etc/a/b.conf")) == ("two", 0o640)
    assert [path.name for path in host.locate("/etc/a").iterdir()] == ["b.conf"]
    assert host.digest("/etc/a/b.conf") == hashlib.sha256(b"two").hexdigest()


def test_a_draft_left_by_a_crash_is_no_obstacle(host: RealHost) -> None:
    host.locate("/etc").mkdir(parents=True)
    host.locate("/etc/.x.slipway-new").write_text("torn")
    host.write_file("/etc/x", "whole", 0o600)
    assert host.read_file("/etc/x") == "whole"
    assert host.mode("/etc/x") == 0o600


def test_what_is_not_there_is_none_and_removing_it_is_no_error(host: RealHost) -> None:
    host.write_file("/file", "x", 0o644)
    for path in ("/nothing", "/file/below"):
        assert host.read_file(path) is None
        assert host.digest(path) is None
        assert host.mode(path) is None
        assert not host.exists(path)
    host.remove("/nothing")
    host.remove("/file")
    assert not host.exists("/file")


def test_a_digest_follows_the_content_also_at_equal_size(host: RealHost) -> None:
    for text in ("aaaa", "bbbb", "aaaa"):
        host.write_file("/x", text, 0o644)
        assert host.digest("/x") == hashlib.sha256(text.encode()).hexdigest()


def test_keys_requests_and_certificates(host: RealHost, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    key, other = host.generate_key(), host.generate_key()
    assert key != other
    signed = host.certificate(authority.sign(host.make_csr(key, "node/with strange=name")))
    assert signed is not None
    assert signed.public_key == host.public_key(key) != host.public_key(other)
    assert 0 < (signed.not_after - host.now()).total_seconds() <= 86400
    assert host.public_key("garbage") is None
    assert host.certificate("garbage") is None
    assert host.public_key(authority.pem) is None


def test_without_openssl_the_cause_is_said(host: RealHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostRefused) as refused:
        host.generate_key()
    assert refused.value.code == "OpensslMissing"


def test_units_are_restarted_enabled_and_described_in_order(host: RealHost, tmp_path: Path) -> None:
    states = {"a.service": "failed", "b.service": "activating", "c.service": "deactivating", "d.service": "reloading"}
    for name, state in states.items():
        unit(tmp_path, name, state)
    assert host.unit_states(["b.service", "none.service", "a.service", "c.service", "d.service"]) == {
        "b.service": "activating",
        "none.service": "absent",
        "a.service": "failed",
        "c.service": "inactive",
        "d.service": "active",
    }
    host.restart_unit("a.service")
    assert host.unit_states(["a.service"]) == {"a.service": "active"}
    assert (tmp_path / "programs" / "enabled-a.service").exists()
    assert host.unit_log("a.service") == "a.service panicked"


def test_a_unit_that_is_not_there_is_refused_in_systemds_words(host: RealHost) -> None:
    with pytest.raises(HostRefused) as refused:
        host.restart_unit("none.service")
    assert refused.value.code == "SystemdFailed"
    assert "Unit none.service not found" in refused.value.message


@pytest.mark.parametrize(
    ("address", "own"),
    [("127.0.0.1", True), ("localhost", True), ("203.0.113.7", False), ("api.example", False)],
)
def test_own_addresses(host: RealHost, address: str, own: bool) -> None:
    assert host.is_own_address(address) is own


def test_log_lines_stay_one_line(host: RealHost, capsys: pytest.CaptureFixture[str]) -> None:
    host.log("Step failed", step="etcd", cause='said "no"\nand ended', none="")
    assert capsys.readouterr().out == 'Step failed step=etcd cause="said \\"no\\"\\nand ended" none=""\n'


def test_the_machine_has_names_and_clocks(host: RealHost) -> None:
    host.write_file("/proc/sys/kernel/random/boot_id", "b-1\n", 0o644)
    assert host.boot_id() == "b-1"
    assert host.hostname()
    assert host.now().utcoffset() is not None
    assert host.monotonic() <= host.monotonic()


PROGRAMS = {
    "its output and exit code": (["sh", "-c", "echo out; echo err >&2; exit 3"], 3, "out\nerr\n"),
    "its variables": (["sh", "-c", "echo $GREETING"], 0, "hello\n"),
    "a missing program": (["/nowhere/x"], 127, "/nowhere/x: command not found"),
    "a folder": (["/"], 126, "/: Permission denied"),
}


@pytest.mark.parametrize(("argv", "code", "output"), PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_is_run_with(argv: list[str], code: int, output: str) -> None:
    ended = run_program(argv, {"GREETING": "hello"}, 10)
    assert (ended.exit_code, ended.output) == (code, output)


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    ended = run_program(["sh", "-c", f"sleep 600 & echo $! > {tmp_path}/pid; echo begun; wait"], {}, 1.5)
    assert ended.exit_code is None
    assert ended.output == "begun\n"
    assert has_ended(int((tmp_path / "pid").read_text()), within=10)


def has_ended(pid: int, within: float) -> bool:
    """A killed process ends a moment after the signal; its descriptor becomes readable when it has."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], within)[0])
    finally:
        os.close(process)


def test_of_much_output_the_end_is_kept() -> None:
    ended = run_program([sys.executable, "-c", "print('x' * 100000 + 'end')"], dict(os.environ), 10)
    assert ended.output.endswith("xend\n")
    assert len(ended.output) == 16384
