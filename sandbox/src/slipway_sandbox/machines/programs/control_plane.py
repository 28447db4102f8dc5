"""The static pods of a controller: kube-apiserver, kube-controller-manager, kube-scheduler."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

from slipway_sandbox.machines.authority import Authority
from slipway_sandbox.machines.certificates import decide_pair_fault, decide_refusal
from slipway_sandbox.machines.etcd_cluster import EtcdCluster
from slipway_sandbox.machines.kubernetes import KubernetesModel
from slipway_sandbox.machines.kubernetes.http import ApiServer
from slipway_sandbox.machines.loopback import Answer, Endpoint
from slipway_sandbox.machines.process import Exited, for_ever
from slipway_sandbox.machines.programs.containers import StaticPod
from slipway_sandbox.machines.tls import server_context
from slipway_sandbox.machines.world import World

_ETCD_LOOK = 0.5


class PodProgram(ABC):
    """A program in a static pod; `run` lasts until it is cancelled, or raises Exited."""

    def __init__(self, pod: StaticPod, world: World, print_line: Callable[[str], None]) -> None:
        self.pod = pod
        self.host = pod.host
        self.world = world
        self.print = print_line

    @abstractmethod
    async def run(self) -> None:
        """Runs to the end."""

    @contextlib.contextmanager
    def listening(self, port: int, endpoint: Endpoint) -> Iterator[None]:
        """An endpoint on the host's loopback for as long as the block lasts."""
        self.host.loopback.open(port, endpoint)
        try:
            yield
        finally:
            self.host.loopback.close(port)


class KubeApiServer(PodProgram):
    """Serves the emulated Kubernetes of the etcd cluster that its flags name."""

    async def run(self) -> None:
        flags = self.pod.flags
        for flag in _API_SERVER_FILES:
            if flag in flags or flag in _API_SERVER_NEEDS:
                self.pod.require(flag)
        certificate, key = self.pod.require("tls-cert-file"), self.pod.require("tls-private-key-file")
        if fault := decide_pair_fault(certificate, key):
            raise Exited(fault)
        authority = self.pod.require("client-ca-file")
        cluster = await self._find_etcd(flags["etcd-servers"].split(","))
        cidr = flags.get("service-cluster-ip-range", "10.96.0.0/12").split(",")[0]
        model = KubernetesModel(cluster.storage, self.world.now, release=self.pod.release, service_cidr=cidr)
        server = ApiServer(model, lambda: cluster.has_quorum, self.host.now)
        port = int(flags.get("secure-port", "6443"))
        await server.start(self.host.address, port, server_context(certificate, key, authority, required=False))
        plane = self.world.plane(cluster)
        plane.api_servers += 1
        try:
            local = Endpoint(lambda path: _health(path, cluster), certificate, authority, anonymous=True)
            with self.listening(port, local):
                await for_ever()
        finally:
            plane.api_servers -= 1
            await server.stop()

    async def _find_etcd(self, urls: list[str]) -> EtcdCluster:
        """Waits for an etcd with a quorum; gives up with Exited, at once if TLS cannot work."""
        mine = self.pod.require("etcd-certfile") if "etcd-certfile" in self.pod.flags else ""
        if mine and (fault := decide_pair_fault(mine, self.pod.require("etcd-keyfile"))):
            raise Exited(fault)
        trusted = self.pod.require("etcd-cafile") if "etcd-cafile" in self.pod.flags else ""
        for _ in range(int(20 / _ETCD_LOOK)):
            for url in urls:
                found = self.world.etcd.serving(url)
                if found is None:
                    continue
                cluster, member = found
                if member.certificate_pem:
                    host = url.partition("//")[2].rpartition(":")[0]
                    refusal = decide_refusal(member.certificate_pem, trusted, self.host.now(), host)
                    if refusal:
                        raise Exited(f"etcd {url}: authentication handshake failed: {refusal}")
                if member.trusted_ca_pem and (r := decide_refusal(mine, member.trusted_ca_pem, self.host.now())):
                    raise Exited(f"etcd {url}: remote error: tls: bad certificate: {r}")
                if cluster.has_quorum:
                    return cluster
            await asyncio.sleep(_ETCD_LOOK)
        raise Exited("Error: error while creating the storage backend: context deadline exceeded")


class ControlLoop(PodProgram):
    """kube-controller-manager or kube-scheduler: counted in its cluster while it runs, healthy on its local port."""

    port = 0

    async def run(self) -> None:
        self.pod.require("kubeconfig")
        for flag in _CONTROL_LOOP_FILES:
            if self.pod.flags.get(flag):
                self.pod.require(flag)
        cluster = await self._find_cluster()
        with self.listening(self.port, Endpoint(lambda _: (200, "ok"), self._certificate())), self.counted(cluster):
            await for_ever()

    def _certificate(self) -> str:
        """As the real ones: its own, or one made at the start, which no CA has signed."""
        if "tls-cert-file" in self.pod.flags:
            return self.pod.require("tls-cert-file")
        return Authority(f"{self.pod.name}-ca").issue(self.pod.name, names=("localhost", "127.0.0.1")).certificate_pem

    @abstractmethod
    def counted(self, cluster: EtcdCluster) -> contextlib.AbstractContextManager[None]:
        """Takes part in the cluster for as long as the block lasts."""

    async def _find_cluster(self) -> EtcdCluster:
        """The etcd cluster behind the API server of this host (its manifests say which)."""
        while True:
            for path in self.host.disk.folder("/etc/kubernetes/manifests"):
                text = self.host.read_file(path) or ""
                for url in _etcd_servers(text):
                    found = self.world.etcd.serving(url)
                    if found is not None:
                        return found[0]
            await asyncio.sleep(_ETCD_LOOK)


class KubeControllerManager(ControlLoop):
    """Runs the cluster's controllers."""

    port = 10257

    @contextlib.contextmanager
    def counted(self, cluster: EtcdCluster) -> Iterator[None]:
        plane = self.world.plane(cluster)
        cidr = self.pod.flags.get("cluster-cidr", "10.244.0.0/16").split(",")[0]
        plane.cluster_cidrs.append(cidr)
        try:
            yield
        finally:
            plane.cluster_cidrs.remove(cidr)


class KubeScheduler(ControlLoop):
    """Counted; pods are placed by the controllers' pass."""

    port = 10259

    @contextlib.contextmanager
    def counted(self, cluster: EtcdCluster) -> Iterator[None]:
        plane = self.world.plane(cluster)
        plane.schedulers += 1
        try:
            yield
        finally:
            plane.schedulers -= 1


def find_pod_program(pod: StaticPod) -> type[PodProgram] | None:
    """What a static pod runs; None for programs that are not emulated."""
    return _PROGRAMS.get(pod.program)


def _health(path: str, cluster: EtcdCluster) -> Answer:
    if path.startswith("/livez") or cluster.has_quorum:
        return 200, "ok"
    return 500, "[-]etcd failed: reason withheld"


def _etcd_servers(manifest: str) -> list[str]:
    marker = "--etcd-servers="
    for line in manifest.splitlines():
        if marker in line:
            return line.partition(marker)[2].strip().strip("\"'").split(",")
    return []


_PROGRAMS: dict[str, type[PodProgram]] = {
    "kube-apiserver": KubeApiServer,
    "kube-controller-manager": KubeControllerManager,
    "kube-scheduler": KubeScheduler,
}
_API_SERVER_NEEDS = ("client-ca-file", "tls-cert-file", "tls-private-key-file", "service-account-key-file")
_API_SERVER_FILES = (
    *_API_SERVER_NEEDS,
    "service-account-signing-key-file",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "kubelet-client-certificate",
    "kubelet-client-key",
    "proxy-client-cert-file",
    "proxy-client-key-file",
    "requestheader-client-ca-file",
    "encryption-provider-config",
)
_CONTROL_LOOP_FILES = (
    "client-ca-file",
    "root-ca-file",
    "service-account-private-key-file",
    "requestheader-client-ca-file",
    "authentication-kubeconfig",
    "authorization-kubeconfig",
)
