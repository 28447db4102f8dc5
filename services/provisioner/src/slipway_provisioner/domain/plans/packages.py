"""What a machine takes from the region's mirror because its image lacks it: containerd, runc and the CNI plugins.

Only of releases whose table has them. On a machine that has them already, these actions change nothing. Where they lie
is where upstream's own instructions put them:
https://github.com/containerd/containerd/blob/main/docs/getting-started.md#option-1-from-the-official-binaries
"""

import re

from slipway_contracts.agent import Action, Package, UnitFile
from slipway_provisioner.domain.plans.model import PlanInputs

FIRST_AGENT = (0, 2)
"""The version of the agent that knows `package` and `unit_file`."""

CONTAINERD_UNIT = "containerd.service"
CNI_PLUGINS = "/opt/cni/bin"
CNI_PLACES = (CNI_PLUGINS, "/usr/lib/cni", "/usr/libexec/cni")
_SEARCHED = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_PACKAGES: dict[str, tuple[tuple[str, ...], tuple[str, ...], str, bool]] = {
    "containerd": (("containerd",), _SEARCHED, "/usr/local", True),
    "runc": (("runc",), _SEARCHED, "/usr/local/sbin", False),
    "cni_plugins": (("bridge", "host-local", "loopback", "portmap"), CNI_PLACES, CNI_PLUGINS, True),
}
"""Name in the table -> programs, where an image may have them, where they are put, and whether they are an archive."""

_UNIT = """[Unit]
Description=containerd, from the region's mirror
After=network.target dbus.service

[Service]
Type=notify
ExecStart=containerd
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
"""
"""Upstream's, but that containerd is found by its name: the image may have the program without a unit."""


def missing_packages(inputs: PlanInputs) -> tuple[Action, ...]:
    """What the machine may lack, as far as the region's mirror has it and the node's agent can install it."""
    offered = [name for name in _PACKAGES if name in inputs.release.artifacts] if inputs.takes_packages else []
    actions: list[Action] = [_package(inputs, name) for name in offered]
    if "containerd" in offered:
        actions.append(UnitFile(name=CONTAINERD_UNIT, content=_UNIT))
    return tuple(actions)


def takes_packages(agent_version: str | None) -> bool:
    """Whether an agent of this version installs packages. One that has not said its version yet is a new server's."""
    if agent_version is None:
        return True
    return tuple(int(part) for part in re.findall(r"\d+", agent_version)[:2]) >= FIRST_AGENT


def _package(inputs: PlanInputs, name: str) -> Package:
    programs, places, folder, archive = _PACKAGES[name]
    return Package(
        name=name,
        programs=programs,
        places=places,
        url=inputs.mirror_url(name),
        sha256=inputs.release.artifacts[name].sha256,
        folder=folder,
        archive=archive,
    )
