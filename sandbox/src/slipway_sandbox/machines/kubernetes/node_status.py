"""What a kubelet says of its node."""

from datetime import datetime
from typing import Any

from slipway_sandbox.machines.image import CONTAINERD
from slipway_sandbox.machines.kubernetes.admission import timestamp

_CAPACITY = {
    "cpu": "2",
    "ephemeral-storage": "20960236Ki",
    "hugepages-2Mi": "0",
    "memory": "4025176Ki",
    "pods": "110",
}
_PRESSURES = (
    ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)
_NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)


def node_info(release: str, boot_id: str, machine_id: str) -> dict[str, str]:
    """status.nodeInfo."""
    return {
        "architecture": "amd64",
        "bootID": boot_id,
        "containerRuntimeVersion": f"containerd://{CONTAINERD}",
        "kernelVersion": "6.1.0-emulated",
        "kubeProxyVersion": release,
        "kubeletVersion": release,
        "machineID": machine_id,
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 12 (bookworm)",
        "systemUUID": machine_id,
    }


def node_conditions(*, network_ready: bool, previous: list[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """status.conditions; those of the previous status keep their transition times while they hold."""
    ready = ("Ready", "False", "KubeletNotReady", _NO_NETWORK)
    if network_ready:
        ready = ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    before = {item["type"]: item for item in previous}
    conditions = []
    for kind, status, reason, message in (*((k, "False", r, m) for k, r, m in _PRESSURES), ready):
        old = before.get(kind, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        conditions.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": since or timestamp(now),
                "lastHeartbeatTime": timestamp(now),
            }
        )
    return conditions


def node_status(
    addresses: list[dict[str, str]], info: dict[str, str], conditions: list[dict[str, Any]]
) -> dict[str, Any]:
    """A whole status."""
    return {
        "addresses": addresses,
        "allocatable": _CAPACITY,
        "capacity": _CAPACITY,
        "conditions": conditions,
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": info,
    }
