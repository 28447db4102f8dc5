"""What a plain cloud image of the emulated machines brings: Debian with containerd, runc, CNI plugins and Python."""

import posixpath

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


def is_in_image(path: str) -> bool:
    """Whether the image has this program (a path, or a bare name)."""
    folder, name = posixpath.split(path)
    if name in BASE_PROGRAMS:
        return folder in ("", *_FOLDERS)
    return folder == "/opt/cni/bin"


def search_path(name: str) -> list[str]:
    """Where a bare program name is looked for."""
    return [f"{folder}/{name}" for folder in _FOLDERS]
