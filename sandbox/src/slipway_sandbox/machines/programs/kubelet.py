"""kubelet: runs static pods, registers its Node through the server of its kubeconfig, keeps lease and status fresh."""

import asyncio
from dataclasses import dataclass
from typing import Any

import yaml

from slipway_sandbox.machines.certificates import common_name, decide_pair_fault
from slipway_sandbox.machines.kubernetes.node_restriction import may_label
from slipway_sandbox.machines.kubernetes.node_status import node_conditions, node_info, node_status
from slipway_sandbox.machines.loopback import Endpoint
from slipway_sandbox.machines.process import Exited, Process, Program
from slipway_sandbox.machines.programs.kube_client import ApiFailed, KubeClient, read_kubeconfig
from slipway_sandbox.machines.programs.kubelet_pods import KubeletPods
from slipway_sandbox.machines.programs.mirror_pods import MirrorPods, node_reference
from slipway_sandbox.machines.programs.static_pods import StaticPods

_STATUS_EVERY = 300.0
_CNI_FOLDER = "/etc/cni/net.d"


@dataclass(frozen=True)
class KubeletSettings:
    """Flags and configuration file together."""

    node_name: str
    node_ip: str
    provider_id: str
    labels: dict[str, str]
    taints: list[dict[str, str]]
    static_pods: str
    healthz_port: int
    register: bool


def kubelet_settings(process: Process) -> KubeletSettings:
    """Raises Exited for what the real kubelet does not start with."""
    flags = process.flags
    config: dict[str, Any] = {}
    if path := flags.get("config"):
        text = process.file(path, f"failed to load kubelet config file, path: {path}, error")
        config = yaml.safe_load(text) or {}
        if config.get("kind") != "KubeletConfiguration":
            raise Exited(f"failed to load kubelet config file, path: {path}, error: no kind KubeletConfiguration")
    labels = dict(entry.partition("=")[::2] for entry in flags.get("node-labels", "").split(",") if entry)
    refused = sorted(label for label in labels if not may_label(label))
    if refused:
        raise Exited(
            f"unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: {refused}; "
            "--node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix "
            "(kubelet.kubernetes.io, node.kubernetes.io) or be in the specifically allowed set"
        )
    _check_files(process, config)
    taints = [_taint(entry) for entry in flags.get("register-with-taints", "").split(",") if entry]
    return KubeletSettings(
        node_name=flags.get("hostname-override", process.host.hostname()).lower(),
        node_ip=flags.get("node-ip", process.host.address),
        provider_id=flags.get("provider-id", config.get("providerID", "")),
        labels=labels,
        taints=taints or list(config.get("registerWithTaints") or []),
        static_pods=flags.get("pod-manifest-path", config.get("staticPodPath", "")),
        healthz_port=int(config.get("healthzPort", 10248)),
        register=bool(flags.get("kubeconfig")),
    )


class Kubelet(Program):
    """One run of a kubelet."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self._release = _release_of(process)

    async def run(self) -> None:
        settings = kubelet_settings(self.process)
        if self.host.unit_states(["containerd.service"])["containerd.service"] != "active":
            raise Exited("validate CRI v1 runtime API for endpoint unix:///run/containerd/containerd.sock: not running")
        client = self._client(settings)
        self.host.loopback.open(settings.healthz_port, Endpoint(lambda _: (200, "ok")))
        pods = StaticPods(self.host, self.world, settings.static_pods, self.process.print)
        try:
            self.process.ready()
            async with asyncio.TaskGroup() as group:
                group.create_task(pods.run())
                if client is not None:
                    group.create_task(self._be_a_node(client, settings, pods))
        finally:
            self.host.loopback.close(settings.healthz_port)

    def _client(self, settings: KubeletSettings) -> KubeClient | None:
        if not settings.register:
            return None
        path = self.process.flags["kubeconfig"]
        client = read_kubeconfig(self.process.file(path, "unable to load kubeconfig"), self.host, self.world.http)
        shown = common_name(client.certificate_pem or "")
        if shown.startswith("system:node:") and shown != f"system:node:{settings.node_name}":
            self.process.print(f"the certificate is of {shown}, the node is called {settings.node_name}")
        return client

    async def _be_a_node(self, client: KubeClient, settings: KubeletSettings, pods: StaticPods) -> None:
        pace = self.world.pace
        await asyncio.sleep(self.world.random.uniform(0, pace.program_start))
        while not await self._attempt(self._register(client, settings)):  # noqa: ASYNC110 the API server is elsewhere
            await asyncio.sleep(pace.kubelet_retry * self.world.random.uniform(0.8, 1.2))
        self.process.print("Successfully registered node")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_alive(client, settings, pods))
            if self.world.binaries is not None:
                group.create_task(self._run_pods(client, settings))

    async def _run_pods(self, client: KubeClient, settings: KubeletSettings) -> None:
        """The node's pods, where no emulated controllers run them."""
        running = KubeletPods(
            client,
            settings.node_name,
            settings.node_ip,
            has_network=self._has_network,
            now=self.host.now,
            say=self.process.print,
        )
        await running.run(self.world.pace.kubelet_retry)

    async def _keep_alive(self, client: KubeClient, settings: KubeletSettings, pods: StaticPods) -> None:
        """Heartbeats, mirror pods, and the start of the node's network."""
        pace = self.world.pace
        mirror = MirrorPods(client, settings.node_name, self.host.now)
        sent_at = 0.0
        while True:
            ready = self._has_network()
            due = self.world.monotonic() - sent_at > _STATUS_EVERY
            if await self._attempt(self._heartbeat(client, settings, due=due)) and due:
                sent_at = self.world.monotonic()
            await self._attempt(mirror.show(pods.running()))
            if not ready:
                await self._attempt(self._start_network(client, settings))
            pause = pace.kubelet_heartbeat if self._has_network() == ready and ready else pace.kubelet_unready_look
            await asyncio.sleep(pause * self.world.random.uniform(0.95, 1.0))

    async def _attempt(self, call: Any) -> bool:
        try:
            await call
        except ApiFailed as failure:
            self.process.print(str(failure))
            return False
        return True

    async def _register(self, client: KubeClient, settings: KubeletSettings) -> None:
        """Creates the Node, or brings the labels of the one that is there up to date."""
        labels = {
            "kubernetes.io/hostname": settings.node_name,
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
        } | settings.labels
        spec: dict[str, Any] = {}
        if settings.provider_id:
            spec["providerID"] = settings.provider_id
        if settings.taints:
            spec["taints"] = settings.taints
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": settings.node_name, "labels": labels},
            "spec": spec,
            "status": self._status(settings, []),
        }
        status, answer = await client.send("POST", "/api/v1/nodes", node)
        if status == 409:
            patch = {"metadata": {"labels": labels}}
            status, answer = await client.send("PATCH", f"/api/v1/nodes/{settings.node_name}", patch)
        client.expect(status, answer, "Unable to register node with API server")

    async def _heartbeat(self, client: KubeClient, settings: KubeletSettings, *, due: bool) -> None:
        """Renews the lease and sends the status when it differs from the API's, or is due. A lost Node stays lost."""
        path = f"/api/v1/nodes/{settings.node_name}"
        status, node = await client.send("GET", path)
        client.expect(status, node, "Error updating node status, will retry")
        await self._renew(client, settings, node)
        present = node.get("status", {})
        wanted = self._status(settings, present.get("conditions", []))
        if due or _differs(present, wanted):
            status, answer = await client.send("PATCH", f"{path}/status", {"status": wanted})
            client.expect(status, answer, "Error updating node status, will retry")

    async def _renew(self, client: KubeClient, settings: KubeletSettings, node: dict[str, Any]) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        now = self.host.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": settings.node_name, "leaseDurationSeconds": 40, "renewTime": now}
        path = f"{leases}/{settings.node_name}"
        status, answer = await client.send("PATCH", path, {"spec": spec})
        if status == 404:
            metadata = {"name": settings.node_name, "ownerReferences": [node_reference(node)]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            status, answer = await client.send("POST", leases, lease)
        client.expect(status, answer, "Failed to update lease")

    async def _start_network(self, client: KubeClient, settings: KubeletSettings) -> None:
        """A pod that mounts the CNI folder of the host, and runs here, puts its configuration there."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{settings.node_name}"
        status, answer = await client.send("GET", path)
        client.expect(status, answer, "Failed to list pods")
        for pod in answer["items"]:
            folders = [volume.get("hostPath", {}).get("path", "") for volume in pod["spec"].get("volumes") or []]
            running = (pod.get("status") or {}).get("phase") == "Running"
            if running and any(folder.rstrip("/") == _CNI_FOLDER for folder in folders):
                self.host.write_file(f"{_CNI_FOLDER}/10-flannel.conflist", '{"name": "cbr0"}', 0o644)

    def _has_network(self) -> bool:
        return bool(self.host.disk.folder(_CNI_FOLDER))

    def _status(self, settings: KubeletSettings, previous: list[dict[str, Any]]) -> dict[str, Any]:
        addresses = [
            {"type": "InternalIP", "address": settings.node_ip},
            {"type": "Hostname", "address": settings.node_name},
        ]
        info = node_info(self._release, self.host.boot_id(), self.host.machine_id)
        conditions = node_conditions(network_ready=self._has_network(), previous=previous, now=self.host.now())
        return node_status(addresses, info, conditions)


def _check_files(process: Process, config: dict[str, Any]) -> None:
    client_ca = ((config.get("authentication") or {}).get("x509") or {}).get("clientCAFile")
    if client_ca:
        process.file(client_ca, "unable to load client CA file")
    certificate, key = config.get("tlsCertFile"), config.get("tlsPrivateKeyFile")
    if certificate and key:
        texts = process.file(certificate, "failed to load the certificate"), process.file(key, "failed to load the key")
        if fault := decide_pair_fault(*texts):
            raise Exited(fault)


def _taint(text: str) -> dict[str, str]:
    pair, _, effect = text.rpartition(":")
    key, equals, value = pair.partition("=")
    return {"key": key, "effect": effect} | ({"value": value} if equals and value else {})


def _differs(present: dict[str, Any], wanted: dict[str, Any]) -> bool:
    states = [
        {item["type"]: (item["status"], item["reason"]) for item in status.get("conditions", [])}
        for status in (present, wanted)
    ]
    keys = ("addresses", "nodeInfo", "capacity")
    return states[0] != states[1] or any(present.get(key) != wanted[key] for key in keys)


def _release_of(process: Process) -> str:
    """The release of the kubelet's program: where it was fetched from names it, as in .../v1.36.3/kubelet."""
    found = process.host.disk.find(process.argv[0])
    for part in reversed(((found.origin if found else "") + "/" + process.argv[0]).split("/")):
        numbers = part.removeprefix("v").split(".")
        if part.startswith("v") and len(numbers) >= 3 and all(number[:1].isdigit() for number in numbers):
            return part
    raise Exited(
        f"{process.argv[0]}: its release is unknown: serve it under a path that names it, like v1.36.3/kubelet"
    )
