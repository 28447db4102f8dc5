"""What a plain cloud image of the emulated machines brings: Debian with containerd, runc, CNI plugins and Python."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

BASE_UNITS = {"containerd.service": True, "systemd-timesyncd.service": True, "systemd-resolved.service": False}
"""Unit -> whether it runs after boot."""

_TOOLS = ("sh", "bash", "env", "python3", "true", "mkdir", "chmod", "chown", "ln", "cp", "mv", "rm", "install", "touch")
_SYSTEM = ("systemctl", "modprobe", "sysctl", "swapoff", "mount", "umount", "useradd", "groupadd", "ip", "iptables")
_SERVICES = ("containerd", "ctr", "runc", "systemd-timesyncd", "systemd-resolved", "hostnamectl")
BASE_PROGRAMS = frozenset((*_TOOLS, *_SYSTEM, *_SERVICES, "update-ca-certificates", "openssl", "tar", "cat", "sleep"))

CONTAINERD = "2.1.4"
VERSIONS = {
    "containerd": f"containerd github.com/containerd/containerd/v2 v{CONTAINERD} 75cb2b7193e4",
    "runc": "runc version 1.3.0",
}
"""What programs of the image print for --version."""

_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


RUNTIME = frozenset(("containerd.service", "containerd", "ctr", "runc", "bridge", "host-local", "loopback", "portmap"))
"""What an image without a container runtime lacks."""


@dataclass(frozen=True)
class Image:
    """One image: all of the above, but for the programs and units that it lacks."""

    lacks: frozenset[str] = frozenset()

    @property
    def units(self) -> Mapping[str, bool]:
        """Unit -> whether it runs after boot."""
        return {name: runs for name, runs in BASE_UNITS.items() if name not in self.lacks}

    def has(self, path: str) -> bool:
        """Whether the image has this program."""
        folder, name = posixpath.split(path)
        if name in self.lacks or not name:
            return False
        return folder == "/opt/cni/bin" or (name in BASE_PROGRAMS and folder in _FOLDERS)


def search_path(name: str) -> list[str]:
    """Where a bare program name is looked for."""
    return [f"{folder}/{name}" for folder in _FOLDERS]
