"""What all machines of a runner share: etcd clusters, Kubernetes control planes, an HTTP client, a clock."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from slipway_sandbox.machines.binaries import Binaries
from slipway_sandbox.machines.etcd_cluster import EtcdCluster, EtcdClusters
from slipway_sandbox.machines.image import Image
from slipway_sandbox.machines.kubernetes import Controllers


@dataclass(frozen=True)
class Pace:
    """How long emulated things take, in seconds, and how often programs look."""

    boot: float = 1.0
    program_start: float = 0.3
    command: float = 0.1
    controllers: float = 1.0
    agent_speed: float = 1.0  # how much faster than real time the agents' clocks for waiting run
    static_pod_start: float = 0.7
    kubelet_heartbeat: float = 10.0  # nodeStatusUpdateFrequency and the lease's renewal
    kubelet_unready_look: float = 1.0
    kubelet_retry: float = 1.0


@dataclass
class ControlPlane:
    """What runs on top of one etcd cluster."""

    api_servers: int = 0
    cluster_cidrs: list[str] = field(default_factory=list)  # one per running controller manager
    schedulers: int = 0


class World:
    """Shared by every machine of one runner; `close` ends it."""

    def __init__(
        self,
        *,
        pace: Pace | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        seed: int | None = None,
        binaries: Binaries | None = None,
        image: Image | None = None,
    ) -> None:
        self.pace = pace or Pace()
        self.now = now
        self.monotonic = monotonic
        self.random = random.Random(seed)
        self.binaries = binaries  # None: etcd and the control plane are emulated
        self.image = image or Image()  # of every machine
        self.etcd = EtcdClusters()
        self._planes: dict[str, ControlPlane] = {}
        self._controllers: dict[str, Controllers] = {}
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """The client of all agents and kubelets; each request brings its own TLS context."""
        if self._http is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30.0)
            self._http = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self._http

    def plane(self, cluster: EtcdCluster) -> ControlPlane:
        """What runs on top of an etcd cluster."""
        return self._planes.setdefault(cluster.identity, ControlPlane())

    def step_controllers(self) -> None:
        """One pass of the controllers of every cluster that has a quorum, an API server and a controller manager."""
        for cluster in self.etcd.all():
            plane = self.plane(cluster)
            if not (cluster.has_quorum and plane.api_servers and plane.cluster_cidrs):
                # Heartbeats could not arrive meanwhile: the next controller manager begins with a grace period.
                self._controllers.pop(cluster.identity, None)
                continue
            controllers = self._controllers.get(cluster.identity)
            if controllers is None:
                controllers = Controllers(cluster.storage, self.now, cluster_cidr=plane.cluster_cidrs[0])
                self._controllers[cluster.identity] = controllers
            controllers.step()
        present = {cluster.identity for cluster in self.etcd.all()}
        for identity in set(self._controllers) - present:
            del self._controllers[identity]
            self._planes.pop(identity, None)

    async def close(self) -> None:
        """Closes every connection."""
        if self._http is not None:
            await self._http.close()
