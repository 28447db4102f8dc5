"""What runs on a simulated machine, as far as Slipway can tell: etcd, an API server, a kubelet."""

import asyncio
import base64
import json
import re
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import yaml

from slipway_sandbox.machines.etcd_cluster import CannotJoin, EtcdCluster, EtcdClusters, RunningMember
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.kubernetes import Controllers, KubernetesModel
from slipway_sandbox.machines.kubernetes.node_status import node_conditions, node_info, node_status
from slipway_sandbox.machines.loopback import Endpoint
from slipway_sandbox.machines.programs.etcd import Seat
from slipway_simulation.cluster_apis import Asked, ClusterApis
from slipway_simulation.virtual_time import LoopClock

RELEASE = "v1.36.3"
HEARTBEAT = 10.0
RETRY = 1.0
SYNC = 1.0
"""Seconds until a learner has what the leader has."""
_ETCD_DATA = "/var/lib/etcd/member"
_CNI = "/etc/cni/net.d"
_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class Etcd:
    """One member, by the flags of its unit. A new disk never takes the place of a lost one, only a new member does."""

    def __init__(self, host: EmulatedHost, clusters: EtcdClusters) -> None:
        self.trouble: str | None = None
        self._host = host
        self._clusters = clusters
        self._seat: Seat | None = None
        self._run: RunningMember | None = None
        self._ports: list[int] = []

    def start(self, flags: dict[str, str]) -> None:
        """The unit is started, or again."""
        self.stop()
        try:
            seat = self._join(flags)
        except CannotJoin as refusal:
            self.trouble = str(refusal)
            return
        self.trouble = None
        run = RunningMember(flags["name"], (flags["advertise-client-urls"],), None, None)
        self._seat, self._run = seat, run
        seat.cluster.start(seat.member_id, run)
        asyncio.get_running_loop().call_later(SYNC, setattr, run, "in_sync", True)
        pki = (self._host.read_file(flags["cert-file"]), self._host.read_file(flags["trusted-ca-file"]))
        self._listen(flags["listen-metrics-urls"], Endpoint(seat.answer))
        self._listen(flags["listen-client-urls"].split(",")[-1], Endpoint(seat.answer, *pki, ask=seat.ask))

    def stop(self) -> None:
        """It ends; its data stay."""
        if self._seat is not None and self._run is not None:
            self._seat.cluster.stop(self._seat.member_id, self._run)
        for port in self._ports:
            self._host.loopback.close(port)
        self._seat, self._run, self._ports = None, None, []

    def forget(self) -> None:
        """Its data are gone with the disk."""
        kept = self._host.read_file(_ETCD_DATA)
        if kept is not None:
            self._clusters.forget_data(*json.loads(kept))

    def is_ready(self) -> bool:
        """It runs and has a quorum; a learner too."""
        seat = self._seat
        return seat is not None and seat.cluster.has_quorum and seat.member_id in seat.cluster.members

    def answers(self, url: str) -> bool:
        """Whether a member of any machine answers at this client URL with a path of health."""
        parts = urlsplit(url)
        found = self._clusters.serving(f"{parts.scheme}://{parts.netloc}")
        return found is not None and found[0].has_quorum

    def _join(self, flags: dict[str, str]) -> Seat:
        kept = self._host.read_file(_ETCD_DATA)
        if kept is not None:
            identity, member_id = json.loads(kept)
            return Seat(self._clusters.rejoin(identity, member_id), member_id)
        cluster, member_id = self._clusters.join(flags, flags["name"])
        self._host.write_file(_ETCD_DATA, json.dumps([cluster.identity, member_id]), 0o600)
        return Seat(cluster, member_id)

    def _listen(self, url: str, endpoint: Endpoint) -> None:
        port = int(url.rpartition(":")[2])
        self._host.loopback.open(port, endpoint)
        self._ports.append(port)


class ControlPlane:
    """The static pods of a controller: they run from when a kubelet found their manifests until the power goes."""

    def __init__(self, host: EmulatedHost, clusters: EtcdClusters, clock: LoopClock) -> None:
        self.model: KubernetesModel | None = None
        self._host = host
        self._clusters = clusters
        self._clock = clock
        self._cluster: EtcdCluster | None = None

    def start(self) -> None:
        """As soon as there is a manifest, and an etcd with a quorum."""
        text = self._host.read_file(_MANIFEST)
        if self.model is not None or text is None:
            return
        found = [self._clusters.serving(url) for url in _flag(text, "etcd-servers").split(",")]
        cluster = next((each[0] for each in found if each is not None and each[0].has_quorum), None)
        if cluster is None:
            return
        self._cluster = cluster
        self.model = KubernetesModel(
            cluster.storage,
            self._clock.now,
            release=_release(text),
            service_cidr=_flag(text, "service-cluster-ip-range"),
        )
        pki = "/etc/kubernetes/pki"
        self._host.loopback.open(
            6443,
            Endpoint(
                lambda _path: (200, "ok") if self.is_ready() else (500, "[-]etcd failed"),
                self._host.read_file(f"{pki}/apiserver.crt"),
                self._host.read_file(f"{pki}/ca.crt"),
                anonymous=True,
            ),
        )

    def stop(self) -> None:
        """They end."""
        self.model, self._cluster = None, None
        self._host.loopback.close(6443)

    def is_ready(self) -> bool:
        """The API server runs and reaches an etcd with a quorum."""
        return self.model is not None and self._cluster is not None and self._cluster.has_quorum

    def step_controllers(self) -> None:
        """One pass of the controllers."""
        if self._cluster is not None and self.is_ready():
            Controllers(self._cluster.storage, self._clock.now).step()


class Kubelet:
    """Runs static pods, registers its Node through the endpoint of its kubeconfig, keeps lease and status fresh."""

    def __init__(self, host: EmulatedHost, apis: ClusterApis, control_plane: ControlPlane, random: Random) -> None:
        self._host = host
        self._apis = apis
        self._control_plane = control_plane
        self._random = random
        self._port: int | None = None

    async def run(self, flags: dict[str, str]) -> None:
        """One run of the kubelet, until it is cancelled."""
        config = yaml.load(self._host.read_file(flags["config"]) or "", _Loader)  # noqa: S506  a safe loader
        client = _KubeClient(self._apis, self._host.read_file(flags["kubeconfig"]) or "")
        port = int(config["healthzPort"])
        self._host.loopback.close(port)
        self._host.loopback.open(port, Endpoint(lambda _path: (200, "ok")))
        await asyncio.sleep(self._random.uniform(0.2, 1.0))
        registered = False
        while True:
            if "staticPodPath" in config:
                self._control_plane.start()
            ready = False
            try:
                registered = registered or await self._register(client, flags, config)
                ready = registered and await self._beat(client, flags)
            except (aiohttp.ClientError, _Refused):
                pass
            self._control_plane.step_controllers()
            await asyncio.sleep((HEARTBEAT if ready else RETRY) * self._random.uniform(0.9, 1.0))

    async def _register(self, client: "_KubeClient", flags: dict[str, str], config: dict[str, Any]) -> bool:
        name = flags["hostname-override"]
        labels = dict(entry.partition("=")[::2] for entry in flags.get("node-labels", "").split(",") if entry)
        spec = {"providerID": config["providerID"], "taints": _taints(flags.get("register-with-taints", ""))}
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"} | labels}
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": metadata,
            "spec": spec,
            "status": self._status(flags, []),
        }
        await client.send("POST", "/api/v1/nodes", node, expected=(409,))
        return True

    async def _beat(self, client: "_KubeClient", flags: dict[str, str]) -> bool:
        """Renews the lease, sends the status when it differs; True when all is well. A lost Node stays lost."""
        path = f"/api/v1/nodes/{flags['hostname-override']}"
        node = await client.send("GET", path)
        await self._renew(client, flags["hostname-override"], node)
        before = node.get("status", {}).get("conditions", [])
        wanted = self._status(flags, before)
        if {(c["type"], c["status"]) for c in before} != {(c["type"], c["status"]) for c in wanted["conditions"]}:
            await client.send("PATCH", f"{path}/status", {"status": wanted})
        if not self._has_network():
            await self._start_network(client, flags["hostname-override"])
            return False
        return True

    async def _renew(self, client: "_KubeClient", name: str, node: dict[str, Any]) -> None:
        now = self._host.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
        renewed = await client.send("PATCH", f"{_LEASES}/{name}", {"spec": spec}, expected=(404,))
        if renewed.get("code") == 404:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
            metadata = {"name": name, "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            await client.send("POST", _LEASES, lease, expected=(409,))

    async def _start_network(self, client: "_KubeClient", name: str) -> None:
        """A pod that mounts the CNI folder of the host, and runs here, puts its configuration there."""
        pods = await client.send("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")
        for pod in pods["items"]:
            folders = [volume.get("hostPath", {}).get("path", "") for volume in pod["spec"].get("volumes") or []]
            if (pod.get("status") or {}).get("phase") == "Running" and any(f.rstrip("/") == _CNI for f in folders):
                self._host.write_file(f"{_CNI}/10-flannel.conflist", '{"name": "cbr0"}', 0o644)

    def _has_network(self) -> bool:
        return bool(self._host.disk.folder(_CNI))

    def _status(self, flags: dict[str, str], previous: list[dict[str, Any]]) -> dict[str, Any]:
        addresses = [{"type": "InternalIP", "address": flags["node-ip"]}]
        info = node_info(RELEASE, self._host.boot_id(), self._host.machine_id)
        conditions = node_conditions(network_ready=self._has_network(), previous=previous, now=self._host.now())
        return node_status(addresses, info, conditions)


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _taints(text: str) -> list[dict[str, str]]:
    """key=value:effect, separated by commas."""
    taints = []
    for entry in filter(None, text.split(",")):
        place, _, effect = entry.rpartition(":")
        key, _, value = place.partition("=")
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    return taints


class _Refused(Exception):
    """The API answered with an error."""


class _KubeClient:
    """A kubelet's way to its API: the server and the identity of a kubeconfig."""

    def __init__(self, apis: ClusterApis, kubeconfig: str) -> None:
        config = yaml.load(kubeconfig, _Loader)  # noqa: S506  a safe loader
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._apis = apis
        self._server = cluster["server"]
        self._ca_pem = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._certificate_pem = base64.b64decode(user["client-certificate-data"]).decode()

    async def send(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, expected: tuple[int, ...] = ()
    ) -> dict[str, Any]:
        """The answer. Raises aiohttp.ClientError or _Refused."""
        kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
        url = self._server + path
        asked = Asked(method, url, kind, body, self._certificate_pem, self._ca_pem)
        status, content = await self._apis.ask(asked)
        if status >= 400 and status not in expected:
            raise _Refused(f"{status} {content[:200]!r}")
        answer: dict[str, Any] = json.loads(content)
        return answer


def _release(manifest: str) -> str:
    return _found(r"kube-apiserver:(v[\d.]+)", manifest)


def _flag(manifest: str, name: str) -> str:
    return _found(rf"--{name}=([^\s'\"]+)", manifest)


def _found(pattern: str, manifest: str) -> str:
    found = re.search(pattern, manifest)
    assert found is not None, f"kubeadm's manifest has {pattern}"
    return found[1]
