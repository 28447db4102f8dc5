"""A kubelet's pods on a real API server: those bound to its node run at once, and end when they are deleted.

On an emulated API server the controllers' pass does the same for every node (`kubernetes/workloads.py`).
"""

import asyncio
import ipaddress
from collections.abc import Callable
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes.admission import timestamp
from slipway_sandbox.machines.kubernetes.pod_status import running_status
from slipway_sandbox.machines.programs.kube_client import ApiFailed, KubeClient

_WATCH = 300
_WAITING_WATCH = 1
"""Seconds of a watch; then the list is read anew."""

_MIRROR = "kubernetes.io/config.mirror"

Json = dict[str, Any]


class KubeletPods:
    """Follows the pods of one node while its kubelet runs. `has_network`: whether the node's CNI is configured."""

    def __init__(
        self,
        client: KubeClient,
        node: str,
        node_ip: str,
        *,
        has_network: Callable[[], bool],
        now: Callable[[], datetime],
        say: Callable[[str], None],
    ) -> None:
        self._client = client
        self._node = node
        self._node_ip = node_ip
        self._has_network = has_network
        self._now = now
        self._say = say
        self._addresses: dict[str, str] = {}  # of pods, by uid
        self._waiting: set[str] = set()

    async def run(self, retry: float) -> None:
        """Follows them until it is cancelled; tries again after so many seconds when the API does not answer."""
        while True:
            try:
                await self._follow_all()
            except ApiFailed as failure:
                self._say(str(failure))
                await asyncio.sleep(retry)

    async def _follow_all(self) -> None:
        """Lists, then watches: for long when all is as it should be, else so briefly that it is a pause."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self._node}"
        status, answer = await self._client.send("GET", path)
        self._client.expect(status, answer, "Failed to list pods")
        present = {pod["metadata"]["uid"] for pod in answer["items"]}
        self._addresses = {uid: address for uid, address in self._addresses.items() if uid in present}
        self._waiting.clear()
        for pod in answer["items"]:
            await self._follow(pod)
        version = answer["metadata"]["resourceVersion"]
        seconds = _WAITING_WATCH if self._waiting else _WATCH
        async for event in self._client.watch(f"{path}&resourceVersion={version}", seconds):
            if event["type"] == "ERROR":
                return
            if event["type"] == "DELETED":
                self._addresses.pop(event["object"]["metadata"]["uid"], None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                await self._follow(event["object"])
                if self._waiting and seconds == _WATCH:
                    return

    async def _follow(self, pod: Json) -> None:
        """Starts or ends one pod; one that cannot be is tried again later and is in no other's way."""
        uid = pod["metadata"]["uid"]
        try:
            await self._start_or_end(pod)
            self._waiting.discard(uid)
        except ApiFailed as failure:
            if uid not in self._waiting:
                self._say(f"pod {pod['metadata']['namespace']}/{pod['metadata']['name']}: {failure}")
            self._waiting.add(uid)

    async def _start_or_end(self, pod: Json) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if metadata.get("deletionTimestamp"):
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
            status, answer = await self._client.send("DELETE", path, options)
        elif _MIRROR not in metadata.get("annotations", {}) and pod["status"]["phase"] == "Pending":
            address = self._node_ip if pod["spec"].get("hostNetwork") else await self._address(metadata["uid"])
            addresses = {"hostIP": self._node_ip, "podIP": address, "podIPs": [{"ip": address}]}
            running = running_status(pod["spec"], timestamp(self._now())) | addresses
            body = {"metadata": {"uid": metadata["uid"]}, "status": running}
            status, answer = await self._client.send("PATCH", f"{path}/status", body)
        else:
            return
        if status not in (404, 409):  # gone meanwhile, or another one of the same name
            self._client.expect(status, answer, "not as it should be")

    async def _address(self, uid: str) -> str:
        """A free address of the node's part of the pod network."""
        if not self._has_network():
            raise ApiFailed("cni plugin not initialized")
        if uid not in self._addresses:
            status, node = await self._client.send("GET", f"/api/v1/nodes/{self._node}")
            self._client.expect(status, node, "Failed to read the node")
            cidr = node["spec"].get("podCIDR")
            if cidr is None:
                raise ApiFailed("no address for a pod: the node has no podCIDR yet")
            taken = set(self._addresses.values())
            hosts = ipaddress.ip_network(cidr).hosts()
            next(hosts)  # the bridge's own
            self._addresses[uid] = next(str(host) for host in hosts if str(host) not in taken)
        return self._addresses[uid]
