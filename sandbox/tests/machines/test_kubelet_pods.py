"""A kubelet's pods on an API server without the controllers' pass: started, given addresses, ended, one by one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiohttp

from slipway_sandbox.machines.programs.kube_client import KubeClient
from slipway_sandbox.machines.programs.kubelet_pods import KubeletPods
from slipway_sandbox.machines.testing import KubernetesEndpoint, serve_kubernetes
from slipway_sandbox.machines.testing.waiting import until

PODS = "/api/v1/namespaces/default/pods"


class Node:
    """A node n1 whose kubelet follows its pods; `network` is what its CNI says."""

    def __init__(self, endpoint: KubernetesEndpoint) -> None:
        self.endpoint = endpoint
        self.network = True
        self.said: list[str] = []

    def bind(self, name: str, **spec: Any) -> None:
        """A pod on this node, as the scheduler leaves it."""
        body = {"containers": [{"name": "main", "image": "web:1"}], "nodeName": "n1", **spec}
        self.endpoint.request("POST", PODS, {"metadata": {"name": name}, "spec": body})

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.endpoint.request("GET", f"{PODS}/{name}").get("status") or {}
        return found

    def phases(self) -> dict[str, str]:
        items = self.endpoint.request("GET", PODS)["items"]
        return {item["metadata"]["name"]: item["status"]["phase"] for item in items}


@asynccontextmanager
async def a_node() -> AsyncIterator[Node]:
    async with serve_kubernetes(control_every=None) as endpoint, aiohttp.ClientSession() as http:
        node = Node(endpoint)
        endpoint.add_node("n1")
        endpoint.request("PATCH", "/api/v1/nodes/n1", {"spec": {"podCIDR": "10.244.3.0/24"}})
        issued = endpoint.credential("system:node:n1", ("system:nodes",))
        client = KubeClient(endpoint.url, endpoint.ca_pem, issued.certificate_pem, issued.key_pem, http)
        pods = KubeletPods(
            client,
            "n1",
            "127.77.0.9",
            has_network=lambda: node.network,
            now=lambda: datetime.now(UTC),
            say=node.said.append,
        )
        running = asyncio.create_task(pods.run(retry=0.01))
        try:
            yield node
        finally:
            running.cancel()
            await asyncio.wait([running])


async def test_pods_run_with_addresses_of_the_node_and_its_pod_network() -> None:
    async with a_node() as node:
        node.bind("a")
        node.bind("b")
        node.bind("host", hostNetwork=True)
        await until(lambda: node.phases() == {"a": "Running", "b": "Running", "host": "Running"})
        assert {node.status(name)["podIP"] for name in "ab"} == {"10.244.3.2", "10.244.3.3"}
        assert node.status("host")["podIP"] == node.status("a")["hostIP"] == "127.77.0.9"
        assert node.status("a")["containerStatuses"][0]["ready"] is True


async def test_init_containers_are_done_and_sidecars_run() -> None:
    async with a_node() as node:
        sidecar = {"name": "side", "image": "side:1", "restartPolicy": "Always"}
        node.bind("a", initContainers=[{"name": "init", "image": "init:1"}, sidecar])
        await until(lambda: node.status("a").get("phase") == "Running")
        states = {each["name"]: next(iter(each["state"])) for each in node.status("a")["initContainerStatuses"]}
        assert states == {"init": "terminated", "side": "running"}


async def test_a_deleted_pod_goes_and_its_address_is_free_again() -> None:
    async with a_node() as node:
        node.bind("a")
        await until(lambda: node.phases() == {"a": "Running"})
        node.endpoint.request("DELETE", f"{PODS}/a")
        await until(lambda: node.phases() == {})
        node.bind("later")
        await until(lambda: node.phases() == {"later": "Running"})
        assert node.status("later")["podIP"] == "10.244.3.2"


async def test_a_pod_that_waits_for_the_network_is_in_no_others_way() -> None:
    async with a_node() as node:
        node.network = False
        node.bind("a-waits")
        node.bind("b-runs", hostNetwork=True)
        await until(lambda: node.phases() == {"a-waits": "Pending", "b-runs": "Running"})
        assert any("default/a-waits: cni plugin not initialized" in line for line in node.said)
        node.network = True
        await until(lambda: node.phases() == {"a-waits": "Running", "b-runs": "Running"})


async def test_it_goes_on_when_the_api_is_back() -> None:
    async with a_node() as node:
        node.endpoint.etcd_ready = False
        node.bind("a")
        await until(lambda: any("request timed out" in line for line in node.said))
        node.endpoint.etcd_ready = True
        await until(lambda: node.phases() == {"a": "Running"})
