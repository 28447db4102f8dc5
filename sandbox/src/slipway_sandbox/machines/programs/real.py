"""etcd and a controller's static pods as real processes, with the plan's own flags, certificates and files."""

import posixpath
from collections.abc import Callable
from pathlib import Path

from slipway_sandbox.machines.binaries import Binaries
from slipway_sandbox.machines.child import run_child
from slipway_sandbox.machines.files import FolderDisk
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Exited, Program
from slipway_sandbox.machines.programs.control_plane import PodProgram
from slipway_sandbox.machines.programs.etcd import etcd_settings
from slipway_sandbox.machines.translation import is_loopback, translate_flags

_GATES = "feature-gates"


class RealEtcd(Program):
    """One member, as the machine's unit says."""

    async def run(self) -> None:
        settings = etcd_settings(self.process)
        settings.pop("config-file", None)
        # A power cut here ends processes, not this computer's kernel: what etcd wrote is there without a sync.
        settings["unsafe-no-fsync"] = "true"
        # As on a machine of its own, a member speaks to its peers from its own address, which its certificate names.
        gates = [gate for gate in settings.get(_GATES, "").split(",") if gate]
        settings[_GATES] = ",".join([*gates, "SetMemberLocalAddr=true"])
        disk = folder_of(self.host)
        flags = translate_flags(settings, self.host.address, lambda path: str(disk.place(path)))
        program = _binaries(self.world.binaries).etcd
        await _run(self.host, program, flags, self.process.print, self.process.ready)


class RealPod(PodProgram):
    """kube-apiserver, kube-controller-manager or kube-scheduler of the release that the pod's image names."""

    async def run(self) -> None:
        binaries = _binaries(self.world.binaries)
        program = binaries.of_release(self.pod.program, self.pod.release)
        if program is None:
            known = ", ".join(binaries.folders)
            raise Exited(f"Failed to pull image {self.pod.container['image']}: the real programs here are of {known}")
        flags = dict(self.pod.flags)
        flags.setdefault("bind-address", self.host.address)
        if self.pod.program == "kube-apiserver" and is_loopback(self.host.address):
            # Kubernetes refuses loopback addresses behind its own Service; without this it says so every ten seconds.
            flags["endpoint-reconciler-type"] = "none"
        log = folder_of(self.host).place(f"/var/log/pods/{self.pod.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", buffering=1) as lines:
            translated = translate_flags(flags, self.host.address, self._place)
            await _run(self.host, program, translated, lambda line: print(line, file=lines))

    def _place(self, path: str) -> str:
        source = self.pod.host_path(path)
        if source is None:
            raise Exited(f"open {path}: no such file or directory")
        return str(folder_of(self.host).place(source))


def is_real(program: str) -> bool:
    """Whether a static pod's program is one of those that run really, where there are real ones."""
    return program in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def folder_of(host: EmulatedHost) -> FolderDisk:
    """The disk of a host whose programs are real."""
    assert isinstance(host.disk, FolderDisk), "machines with real programs have their files in a folder"
    return host.disk


async def _run(
    host: EmulatedHost,
    program: Path,
    flags: list[str],
    say: Callable[[str], None],
    ready: Callable[[], None] = lambda: None,
) -> None:
    say(f"{posixpath.basename(program)} is a real process of this computer")
    await run_child(
        [str(program), *flags], folder_of(host).root, say, ready=ready, power_is_cut=lambda: host.power_is_cut
    )


def _binaries(found: Binaries | None) -> Binaries:
    assert found is not None, "real programs run only where there are some"
    return found
