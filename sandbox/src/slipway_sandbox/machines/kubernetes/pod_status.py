"""What a kubelet says of a pod whose containers run."""

import hashlib
from typing import Any

_CONDITIONS = ("PodReadyToStartContainers", "PodScheduled", "Initialized", "ContainersReady", "Ready")


def running_status(spec: dict[str, Any], now: str) -> dict[str, Any]:
    """The status of a pod of this spec from `now` on: its init containers are done, all others run and are ready."""
    status = {
        "phase": "Running",
        "startTime": now,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in _CONDITIONS],
        "containerStatuses": [_running(container, now) for container in spec["containers"]],
    }
    if spec.get("initContainers"):
        status["initContainerStatuses"] = [_done(container, now) for container in spec["initContainers"]]
    return status


def _running(container: dict[str, Any], now: str) -> dict[str, Any]:
    return _described(container) | {"ready": True, "started": True, "state": {"running": {"startedAt": now}}}


def _done(container: dict[str, Any], now: str) -> dict[str, Any]:
    if container.get("restartPolicy") == "Always":  # a sidecar
        return _running(container, now)
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    return _described(container) | {"ready": True, "started": False, "state": {"terminated": ended}}


def _described(container: dict[str, Any]) -> dict[str, Any]:
    image = container.get("image", "")
    digest = hashlib.sha256(image.encode()).hexdigest()
    return {"name": container["name"], "image": image, "imageID": f"{image}@sha256:{digest}", "restartCount": 0}
