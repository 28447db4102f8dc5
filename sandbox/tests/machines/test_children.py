"""What stands between an emulated machine and a real process: its files, its flags, its birth and its death."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway_sandbox.machines.binaries import PROGRAMS, Binaries, BinariesUnusable, find_binaries
from slipway_sandbox.machines.child import run_child
from slipway_sandbox.machines.files import FolderDisk
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Exited
from slipway_sandbox.machines.programs.containers import read_static_pod
from slipway_sandbox.machines.programs.real import RealPod
from slipway_sandbox.machines.testing.waiting import until
from slipway_sandbox.machines.translation import translate_flags
from slipway_sandbox.machines.world import World


@pytest.mark.parametrize(
    ("flag", "value", "expected"),
    [
        pytest.param("cert-file", "/etc/etcd/pki/s.crt", "/hosts/s1/etc/etcd/pki/s.crt", id="a file"),
        pytest.param("etcd-prefix", "/registry", "/registry", id="no file"),
        pytest.param("bind-address", "127.0.0.1", "127.77.0.5", id="loopback"),
        pytest.param("bind-address", "0.0.0.0", "127.77.0.5", id="every address"),
        pytest.param("listen-metrics-urls", "http://127.0.0.1:2381", "http://127.77.0.5:2381", id="a URL"),
        pytest.param(
            "listen-client-urls",
            "https://127.77.0.5:2379,https://127.0.0.1:2379",
            "https://127.77.0.5:2379",
            id="both become one",
        ),
        pytest.param("service-cluster-ip-range", "10.96.0.0/12", "10.96.0.0/12", id="a network"),
        pytest.param("initial-cluster", "a=https://127.77.0.5:2380", "a=https://127.77.0.5:2380", id="peers"),
        pytest.param("cluster-signing-key-file", "", "", id="empty"),
    ],
)
def test_flags_of_one_machine_among_many(flag: str, value: str, expected: str) -> None:
    assert translate_flags({flag: value}, "127.77.0.5", lambda path: f"/hosts/s1{path}") == [f"--{flag}={expected}"]


def test_a_disk_in_a_folder_shows_texts_with_their_modes_and_goes(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path / "s1")
    disk.write("/etc/pki/key", "secret", 0o600)
    disk.write("/etc/pki/key", "another", 0o600)
    place = disk.place("/etc/pki/key")
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("another", 0o600)
    assert disk.root.stat().st_mode & 0o077 == 0
    assert [path.name for path in place.parent.iterdir()] == ["key"]
    disk.set_mode("/etc/pki/key", 0o640)
    assert place.stat().st_mode & 0o777 == 0o640
    disk.remove("/etc/pki/key")
    assert not place.exists()
    disk.place("/var/lib/etcd").mkdir(parents=True)
    assert disk.exists("/var/lib/etcd")
    disk.destroy()
    assert not disk.root.exists()


def test_no_path_leads_out_of_the_folder(tmp_path: Path) -> None:
    disk = FolderDisk(tmp_path / "s1")
    assert disk.place("/../../etc/passwd") == tmp_path / "s1" / "etc" / "passwd"


@pytest.mark.parametrize(
    ("script", "says"),
    [
        pytest.param("", "there is no etcd, kube-apiserver", id="missing"),
        pytest.param("#!/bin/sh\nexit 1\n", "does not run here", id="does not run"),
        pytest.param("#!/bin/sh\necho hello\n", "does not say its release: hello", id="something else"),
    ],
)
def test_what_is_wrong_with_a_folder_of_programs_is_said(tmp_path: Path, script: str, says: str) -> None:
    for program in PROGRAMS if script else ():
        (tmp_path / program).write_text(script)
        (tmp_path / program).chmod(0o755)
    with pytest.raises(BinariesUnusable, match=says):
        find_binaries([tmp_path], tmp_path / "hosts")


async def test_a_child_that_ends_says_how(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(Exited, match="ended with exit code 3: last words"):
        await run_child(["/bin/sh", "-c", "echo first; echo last words >&2; exit 3"], tmp_path, said.append)
    assert said == ["first", "last words"]


async def test_a_child_has_none_of_our_environment(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(Exited):
        await run_child(["/usr/bin/env"], tmp_path, said.append)
    assert {line.partition("=")[0] for line in said} <= {"PATH", "HOME", "NOTIFY_SOCKET", "PWD", "SHLVL", "_"}


NOTIFY = """
import os, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", chr(0) + os.environ["NOTIFY_SOCKET"][1:])
"""


async def test_a_child_that_notifies_is_ready(tmp_path: Path) -> None:
    ready: list[bool] = []
    with pytest.raises(Exited):
        await run_child([sys.executable, "-c", NOTIFY], tmp_path, print, ready=lambda: ready.append(True))
    await until(lambda: ready)


@pytest.mark.parametrize(
    ("power_is_cut", "expected"), [pytest.param(False, True, id="stopped"), pytest.param(True, False, id="power cut")]
)
async def test_a_stopped_child_ends_in_order_and_one_without_power_does_not(
    tmp_path: Path, power_is_cut: bool, expected: bool
) -> None:
    farewell = tmp_path / "farewell"
    script = f"trap 'touch {farewell}; exit 0' TERM; echo begun; while :; do sleep 0.05; done"
    said: list[str] = []
    running = asyncio.create_task(
        run_child(["/bin/sh", "-c", script], tmp_path, said.append, power_is_cut=lambda: power_is_cut)
    )
    await until(lambda: said == ["begun"])
    running.cancel()
    await asyncio.wait([running])
    assert farewell.exists() == expected


async def test_a_power_cut_ends_a_child_that_does_not_stop(tmp_path: Path) -> None:
    said: list[str] = []
    script = "trap 'echo no' TERM; echo $$; while :; do sleep 0.05; done"
    running = asyncio.create_task(run_child(["/bin/sh", "-c", script], tmp_path, said.append))
    await until(lambda: said)
    running.cancel()
    await asyncio.sleep(0)
    assert is_running(int(said[0]))
    running.cancel()
    await asyncio.wait([running])
    assert not is_running(int(said[0]))


PARENT = """
import asyncio, sys
from pathlib import Path
from slipway_sandbox.machines.child import run_child
asyncio.run(run_child(["/bin/sh", "-c", "echo $$; exec sleep 600"], Path("."), lambda line: print(line, flush=True)))
"""


async def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=subprocess.PIPE, cwd=tmp_path)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until(lambda: not is_running(child))


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it is not only waiting to be buried."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


POD = """
kind: Pod
metadata: {name: kube-apiserver}
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.36.3
    command: [kube-apiserver, --client-ca-file=/etc/kubernetes/pki/ca.crt, --profiling=false]
    volumeMounts: [{name: pki, mountPath: /etc/kubernetes/pki}]
  volumes: [{name: pki, hostPath: {path: /srv/pki}}]
"""


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        pytest.param(("v1.36.3", "v1.37.2"), "Failed to pull image .*kube-apiserver:v1.37.2", id="another release"),
        pytest.param(("/etc/kubernetes/pki/ca", "/etc/ca"), "open /etc/ca.crt: no such file", id="not mounted"),
        pytest.param(("", ""), "ended with exit code 0: --endpoint-reconciler-type=none$", id="nothing"),
    ],
)
async def test_a_static_pod_starts_a_program_of_its_release_with_files_of_its_host(
    tmp_path: Path, wrong: tuple[str, str], says: str
) -> None:
    program = tmp_path / "kube-apiserver"
    program.write_text('#!/bin/sh\nfor flag in "$@"; do echo "$flag"; done\n')
    program.chmod(0o755)
    host = EmulatedHost("c0", "127.77.0.5", lambda: datetime.now(UTC), lambda: 0.0, FolderDisk(tmp_path / "c0"))
    world = World(binaries=Binaries({"v1.36.3": tmp_path}, tmp_path))
    pod = read_static_pod(host, POD.replace(*wrong))
    with pytest.raises(Exited, match=says):
        await RealPod(pod, world, print).run()
    if wrong == ("", ""):
        lines = (tmp_path / "c0/var/log/pods/kube-apiserver.log").read_text().splitlines()
        assert f"--client-ca-file={tmp_path}/c0/srv/pki/ca.crt" in lines
