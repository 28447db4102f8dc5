"""Programs that run to their end on an emulated host. What is not known is not there: exit code 127."""

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway_node_agent.effects import Executed
from slipway_node_agent.host import HostRefused
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.image import VERSIONS
from slipway_sandbox.machines.programs.kubeadm import Kubeadm, init_control_plane
from slipway_sandbox.machines.units import UnitManager

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One command line on one host."""

    host: EmulatedHost
    units: UnitManager
    argv: Argv


_VERSION = re.compile(r"\d+\.\d+\.\d+")

Command = Callable[[Call], Executed]

_QUIET = frozenset(
    ("true", "mkdir", "chmod", "chown", "ln", "install", "touch", "modprobe", "swapoff", "mount", "umount")
) | {"update-ca-certificates", "useradd", "groupadd", "hostnamectl", "ip", "iptables"}


def run_command(host: EmulatedHost, units: UnitManager, argv: Argv) -> Executed:
    """Runs the program; the answer is what a shell would see. Programs from a mirror must have been installed first."""
    name = posixpath.basename(argv[0])
    if host.find_program(argv[0]) is None:
        return Executed(127, f"{argv[0]}: command not found")
    if name in _QUIET:
        return Executed(0, "")
    command = _COMMANDS.get(name)
    if command is None:
        return Executed(127, f"{argv[0]}: command not found (this program is not emulated)")
    return command(Call(host, units, argv))


def _systemctl(call: Call) -> Executed:
    argv, units = call.argv, call.units
    words = [word for word in argv[1:] if not word.startswith("-")]
    verb, names = (words[0], words[1:]) if words else ("", [])
    now = "--now" in argv
    try:
        if verb in ("daemon-reload", "reset-failed"):
            return Executed(0, "")
        if verb == "enable":
            units.enabled.update(names)
        elif verb in ("disable", "mask"):
            units.enabled.difference_update(names)
        elif verb == "is-active":
            states = units.states(names)
            return Executed(0 if all(s == "active" for s in states.values()) else 3, "\n".join(states.values()))
        elif verb not in ("start", "restart", "try-restart", "reload", "stop"):
            return Executed(1, f"Unknown command verb {verb}.")
        for name in names:
            if verb in ("start", "restart") or (verb == "enable" and now):
                units.start(name)
            elif verb == "stop" or (verb in ("disable", "mask") and now):
                units.stop_soon(name)
    except HostRefused as refused:
        return Executed(5, refused.message)
    return Executed(0, "")


def _version(call: Call) -> str:
    """What the program says of itself; one from a mirror is of the version in the name of its file, if there is one."""
    name = posixpath.basename(call.argv[0])
    installed = call.host.disk.find(call.host.find_program(call.argv[0]) or "")
    told = _VERSION.search(posixpath.basename(installed.origin)) if installed else None
    return _VERSION.sub(told[0], VERSIONS[name], count=1) if told else VERSIONS[name]


def _runc(call: Call) -> Executed:
    if call.argv[1:] == ("--version",):
        return Executed(0, _version(call))
    return Executed(1, "runc: this command is not emulated")


def _containerd(call: Call) -> Executed:
    if call.argv[1:] == ("--version",):
        return Executed(0, _version(call))
    if call.argv[1:3] == ("config", "default"):
        return Executed(0, 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\n')
    return Executed(1, f"No help topic for '{' '.join(call.argv[1:])}'")


def _sysctl(call: Call) -> Executed:
    return Executed(
        0, "* Applying /etc/sysctl.d/99-sysctl.conf ..." if "--system" in call.argv else " ".join(call.argv[1:])
    )


def _kubeadm(call: Call) -> Executed:
    words = call.argv[1:]
    if words[:1] == ("version",):
        return Executed(0, "kubeadm version")
    if words[:4] != ("init", "phase", "control-plane", "all"):
        return Executed(1, f'unknown command {" ".join(words[:3])!r} for "kubeadm" (this phase is not emulated)')
    path = next((word.partition("=")[2] for word in words if word.startswith("--config=")), "")
    if "--config" in words[:-1]:
        path = words[words.index("--config") + 1]
    try:
        return Executed(0, init_control_plane(call.host, path))
    except Kubeadm as failure:
        return Executed(1, str(failure))


_COMMANDS: Mapping[str, Command] = {
    "systemctl": _systemctl,
    "containerd": _containerd,
    "runc": _runc,
    "sysctl": _sysctl,
    "kubeadm": _kubeadm,
}
