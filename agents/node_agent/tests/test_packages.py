"""What an image may lack: fetched only where it is missing, checked before it is used, never outside of its folder."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway_node_agent import archives
from slipway_node_agent.archives import perform_unpack
from slipway_node_agent.effects import Executed, Fetch, Unpack, Unpacked
from slipway_node_agent.real_host import RealHost
from slipway_node_agent.testing import FakeServices, a_plan, sha256

from .a_world import a_world, finish, reported, require_the_same_end_after_any_cut, start, step_report

ARCHIVE = "archive of bin/containerd bin/ctr"
URL = "http://mirror/containerd.tar.gz"
PACKAGE = {
    "kind": "package",
    "name": "containerd",
    "programs": ["containerd"],
    "places": ["/usr/local/bin", "/usr/bin"],
    "url": URL,
    "sha256": sha256(ARCHIVE),
    "folder": "/usr/local",
    "archive": True,
}
RUNC = {
    **PACKAGE,
    "name": "runc",
    "programs": ["runc"],
    "places": ["/usr/local/sbin"],
    "url": "http://mirror/runc",
    "sha256": sha256("runc 1.3"),
    "folder": "/usr/local/sbin",
    "archive": False,
}
UNIT_PATH = "/etc/systemd/system/containerd.service"
UNIT_FILE = {"kind": "unit_file", "name": "containerd.service", "content": "[Service]\nExecStart=containerd\n"}
UNIT = {"kind": "unit", "name": "containerd.service"}
CHECK = {
    "kind": "program_version",
    "program": "containerd",
    "argv": ["containerd", "--version"],
    "at_least": "2.0.0",
    "code": "RuntimeOutOfRange",
}


def a_machine(*actions: dict[str, Any], mirror: dict[str, str] | None = None) -> FakeServices:
    services = a_world(a_plan(("machine", actions)))
    services.mirror.update({URL: ARCHIVE, RUNC["url"]: "runc 1.3"} if mirror is None else mirror)
    return services


def failure(services: FakeServices) -> tuple[str, str]:
    start(services).until(lambda: reported(services, "failed"))
    step = step_report(services, "machine")
    return step["code"], step["message"]


def test_a_program_that_is_missing_is_taken_from_the_mirror_with_its_unit_and_then_checked() -> None:
    services = a_machine(PACKAGE, RUNC, UNIT_FILE, CHECK, UNIT)
    versions = {True: Executed(0, "containerd v2.1.6"), False: Executed(127, "containerd: command not found")}
    services.host.programs["containerd"] = lambda host, _: versions[host.exists("/usr/local/bin/containerd")]
    finish(services)
    assert services.host.exists("/usr/local/bin/ctr")
    assert (services.host.read_file("/usr/local/sbin/runc"), services.host.mode("/usr/local/sbin/runc")) == (
        "runc 1.3",
        0o755,
    )
    assert services.host.read_file(UNIT_PATH) == UNIT_FILE["content"]
    assert services.host.units["containerd.service"] == "active"
    assert not services.host.exists("/var/lib/slipway/packages"), "the archive does not stay"


def test_what_the_image_has_is_not_fetched_and_its_unit_stays() -> None:
    services = a_machine(PACKAGE, UNIT_FILE, UNIT)
    services.host.write_file("/usr/bin/containerd", "the image's", 0o755)
    services.host.units["containerd.service"] = "active"
    driver = finish(services)
    assert not [effect for effect in driver.effects if isinstance(effect, (Fetch, Unpack))]
    assert not services.host.exists("/usr/local/bin/containerd")
    assert not services.host.exists(UNIT_PATH)
    assert services.host.restarts == {}


def test_a_finished_plan_fetches_nothing_again() -> None:
    services = a_machine(PACKAGE, RUNC, UNIT_FILE, UNIT)
    finish(services)
    fetched = list(services.fetches)
    finish(services)
    assert services.fetches == fetched
    assert services.host.restarts == {"containerd.service": 1}


def test_cut_after_every_effect_the_end_is_the_same() -> None:
    require_the_same_end_after_any_cut(lambda: a_machine(PACKAGE, RUNC, UNIT_FILE, UNIT))


def test_one_missing_program_of_several_brings_the_package() -> None:
    plugins = {**PACKAGE, "programs": ["bridge", "portmap"], "places": ["/opt/cni/bin"], "folder": "/opt/cni/bin"}
    services = a_machine(
        {**plugins, "sha256": sha256("archive of bridge portmap")}, mirror={URL: "archive of bridge portmap"}
    )
    services.host.write_file("/opt/cni/bin/bridge", "the image's", 0o755)
    finish(services)
    assert services.host.exists("/opt/cni/bin/portmap")


def test_a_wrong_digest_stops_the_node_before_anything_is_unpacked() -> None:
    services = a_machine(PACKAGE, UNIT_FILE, UNIT, mirror={URL: "archive of bin/containerd bin/miner"})
    code, message = failure(services)
    assert code == "ArtifactDigestMismatch"
    assert URL in message
    assert not services.host.exists("/usr/local/bin")
    assert not services.host.exists("/var/lib/slipway/packages")
    assert not services.host.exists(UNIT_PATH)


@pytest.mark.parametrize(
    ("archive", "says"),
    [("<html>Not found</html>", "no whole tar.gz"), ("archive of bin/ctr", "there is still no containerd")],
)
def test_an_archive_that_does_not_do_is_a_cause(archive: str, says: str) -> None:
    services = a_machine({**PACKAGE, "sha256": sha256(archive)}, mirror={URL: archive})
    code, message = failure(services)
    assert code == "ArtifactUnusable"
    assert says in message


def test_a_mirror_without_the_package_is_a_cause() -> None:
    assert failure(a_machine(PACKAGE, mirror={}))[0] == "ArtifactUnreachable"


def entry(name: str, content: bytes = b"x", mode: int = 0o755, **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", type=kind, linkname=target)


def a_tar(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def host(tmp_path: Path) -> RealHost:
    return RealHost(str(tmp_path / "root"))


def unpacked(host: RealHost, archive: bytes, *last: str) -> Unpacked:
    host.locate("/var").mkdir(parents=True, exist_ok=True)
    host.locate("/var/a.tar.gz").write_bytes(archive)
    return perform_unpack(Unpack("/var/a.tar.gz", "/usr/local", last), host.locate)


def everything(host: RealHost) -> set[str]:
    root = host.locate("/").parent
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()} - {"root/var/a.tar.gz"}


def folder(name: str) -> tuple[tarfile.TarInfo, bytes]:
    return entry(name, b"", type=tarfile.DIRTYPE)


def test_an_archive_as_upstream_makes_it_is_unpacked_and_leaves_nothing_beside(host: RealHost) -> None:
    tar = a_tar(folder("./"), folder("bin/"), entry("bin/containerd", b"new", 0o4755), entry("./LICENSE", mode=0o600))
    host.write_file("/usr/local/bin/containerd", "old", 0o700)
    host.locate("/usr/local/bin").chmod(0o750)
    host.write_file("/usr/local/bin/.containerd.slipway-part", "torn by a crash", 0o600)
    assert unpacked(host, tar) == Unpacked()
    assert everything(host) == {"root/usr/local/bin/containerd", "root/usr/local/LICENSE"}
    assert host.read_file("/usr/local/bin/containerd") == "new"
    assert host.mode("/usr/local/bin/containerd") == 0o755, "never set-user-id"
    assert host.mode("/usr/local/LICENSE") == 0o644
    assert host.mode("/usr/local/bin") == 0o750, "folders that are there stay as they are"


HOSTILE = {
    "an absolute path": [entry("/etc/cron.d/miner")],
    "a way up": [entry("../../etc/cron.d/miner")],
    "a way up in the middle": [entry("bin/../../miner")],
    "a folder's way up": [folder("../miner"), entry("bin/containerd")],
    "a link out of the folder": [link("bin/out", "/etc"), entry("bin/out/miner")],
    "a link that is a way up": [link("bin/out", "../../etc"), entry("bin/out/miner")],
    "a link inside of the folder": [entry("bin/containerd"), link("bin/ctr", "containerd")],
    "a hard link": [link("shadow", "/etc/shadow", tarfile.LNKTYPE)],
    "a device": [entry("bin/null", b"", type=tarfile.CHRTYPE)],
    "a file twice": [entry("bin/containerd", b"one"), entry("./bin/containerd", b"two")],
    "a file without a name": [entry(".")],
}


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_is_taken_of_an_archive_with(host: RealHost, bad: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    good = entry("bin/first", b"first")
    ended = unpacked(host, a_tar(good, *bad))
    assert ended.trouble is not None
    assert ended.code == "ArtifactUnusable"
    assert everything(host) == set()


@pytest.mark.parametrize("limit", ["MOST_BYTES", "MOST_FILES"])
def test_an_archive_without_end_is_refused(host: RealHost, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, limit, 1)
    ended = unpacked(host, a_tar(entry("one", b"11"), entry("two", b"22")))
    assert "more than" in str(ended.trouble)
    assert everything(host) == set()


def test_a_link_of_the_machine_out_of_the_folder_is_not_followed(host: RealHost) -> None:
    host.locate("/elsewhere").mkdir(parents=True)
    host.locate("/usr/local").mkdir(parents=True)
    host.locate("/usr/local/bin").symlink_to(host.locate("/elsewhere"))
    assert "outside" in str(unpacked(host, a_tar(entry("bin/containerd"))).trouble)
    assert list(host.locate("/elsewhere").iterdir()) == []


def test_a_folder_that_is_itself_a_link_is_where_the_machine_wants_it(host: RealHost) -> None:
    host.locate("/var/usrlocal").mkdir(parents=True)
    host.locate("/usr").mkdir()
    host.locate("/usr/local").symlink_to("../var/usrlocal")
    assert unpacked(host, a_tar(entry("bin/containerd"))) == Unpacked()
    assert host.exists("/var/usrlocal/bin/containerd")


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "is no gzip": lambda tar: b"<html>Not found</html>",
    "is no tar": lambda tar: gzip.compress(b"x" * 2048),
    "is empty": lambda tar: b"",
    "ends early": lambda tar: tar[: len(tar) // 2],
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_a_file_is_said_to_be_no_archive_that(host: RealHost, spoil: Callable[[bytes], bytes]) -> None:
    noise = random.Random(1).randbytes(100_000)
    tar = a_tar(entry("bin/containerd", noise), entry("bin/ctr", noise))
    ended = unpacked(host, spoil(tar))
    assert str(ended.trouble).startswith("it is no whole tar.gz: ")
    assert everything(host) == set()


def test_what_the_machine_refuses_is_not_the_archives_fault(host: RealHost) -> None:
    host.write_file("/usr/local/bin", "a file where a folder should be", 0o644)
    ended = unpacked(host, a_tar(entry("bin/containerd")))
    assert ended.code == "HostRefused"
    assert everything(host) == {"root/usr/local/bin"}


def test_the_programs_that_are_looked_for_come_last(host: RealHost) -> None:
    """An end before theirs leaves them missing, and so everything is done again."""
    host.locate("/usr/local/vlan").mkdir(parents=True)
    host.write_file("/usr/local/vlan/in-the-way", "", 0o644)
    tar = a_tar(*map(entry, ("bridge", "dhcp", "portmap", "vlan")))
    assert unpacked(host, tar, "bridge", "portmap").code == "HostRefused"
    assert everything(host) == {"root/usr/local/dhcp", "root/usr/local/vlan/in-the-way"}
    host.remove("/usr/local/vlan/in-the-way")
    host.locate("/usr/local/vlan").rmdir()
    assert unpacked(host, tar, "bridge", "portmap") == Unpacked()
    assert everything(host) == {f"root/usr/local/{name}" for name in ("bridge", "dhcp", "portmap", "vlan")}
