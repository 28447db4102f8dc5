"""A kubelet's static pods as the API shows them: mirror pods, which are the Node's own."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes.admission import timestamp
from slipway_sandbox.machines.kubernetes.pod_status import running_status
from slipway_sandbox.machines.programs.containers import StaticPod
from slipway_sandbox.machines.programs.kube_client import KubeClient


class MirrorPods:
    """The mirror pods of one node during one run of its kubelet."""

    def __init__(self, client: KubeClient, node: str, now: Callable[[], datetime]) -> None:
        self._client = client
        self._node = node
        self._now = now
        self._shown: set[str] = set()

    async def show(self, pods: list[StaticPod]) -> None:
        """Afterwards each of these static pods has its mirror pod, which runs. Raises ApiFailed."""
        new = [pod for pod in pods if pod.name not in self._shown]
        if not new:
            return
        status, node = await self._client.send("GET", f"/api/v1/nodes/{self._node}")
        self._client.expect(status, node, "Failed to read the node")
        for pod in new:
            await self._show(pod, node_reference(node) | {"controller": True})
            self._shown.add(pod.name)

    async def _show(self, pod: StaticPod, owner: dict[str, Any]) -> None:
        name = f"{pod.name}-{self._node}"
        namespace = pod.manifest["metadata"].get("namespace", "default")
        metadata = {
            "name": name,
            "namespace": namespace,
            "ownerReferences": [owner],
            "labels": pod.manifest["metadata"].get("labels", {}),
            "annotations": {"kubernetes.io/config.mirror": name, "kubernetes.io/config.source": "file"},
        }
        body = {**pod.manifest, "metadata": metadata, "spec": {**pod.manifest["spec"], "nodeName": self._node}}
        path = f"/api/v1/namespaces/{namespace}/pods"
        status, answer = await self._client.send("POST", path, body)
        if status != 409:
            self._client.expect(status, answer, "Failed creating a mirror pod")
        patch = {"status": running_status(pod.manifest["spec"], timestamp(self._now()))}
        status, answer = await self._client.send("PATCH", f"{path}/{name}/status", patch)
        self._client.expect(status, answer, "Failed to update status for pod")


def node_reference(node: dict[str, Any]) -> dict[str, Any]:
    """What is owned by this Node says so like this."""
    return {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
