"""Stateful fakes of the monitor's ports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_monitor.domain.model import NodeView, ServerView
from slipway_monitor.ports import ServerPage, Target
from slipway_monitor.testing.builders import PROJECT


class FakeServers:
    """A cloud's servers: what is deleted stays visible to those who ask for changes, as in Nova."""

    def __init__(self, clock: SteppingClock) -> None:
        self._clock = clock
        self.servers: dict[str, ServerView] = {}
        self.failure: RetryLater | None = None
        self.unreached: dict[str, RetryLater] = {}
        self.hidden: set[str] = set()
        """Servers that exist and are missing from every list, as in a truncated answer."""
        self.lists = 0
        self.gets = 0

    def put(self, server_id: str, **changes: Any) -> None:
        """A new server, or a change of one."""
        known = self.servers.get(server_id) or ServerView(server_id, PROJECT, "ACTIVE", None, None)
        self.servers[server_id] = replace(known, updated=self._clock.now(), **changes)

    async def list(self, projects: Sequence[str], changed_since: datetime | None) -> ServerPage:
        """See the port."""
        self.lists += 1
        self._fail()
        reached = [
            each
            for each in self.servers.values()
            if each.project_id not in self.unreached and each.server_id not in self.hidden
        ]
        if changed_since is None:
            found = [each for each in reached if not each.gone]
        else:
            found = [each for each in reached if each.updated is not None and each.updated >= changed_since]
        return ServerPage(found, {project: each.reason for project, each in self.unreached.items()})

    async def get(self, project_id: str, server_id: str) -> ServerView | None:
        """See the port."""
        self.gets += 1
        self._fail()
        if project_id in self.unreached:
            raise self.unreached[project_id]
        found = self.servers.get(server_id)
        return None if found is None or found.gone else found

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class FakeCluster:
    """One cluster's API: kubelets renew their leases while they run."""

    nodes: dict[str, NodeView] = field(default_factory=dict)
    renewed: dict[str, datetime] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    failure: RetryLater | None = None
    looks: int = 0


class FakeClusters:
    """All clusters' APIs."""

    def __init__(self, clock: SteppingClock) -> None:
        self._clock = clock
        self.clusters: dict[str, FakeCluster] = {}

    def of(self, cluster_id: str) -> FakeCluster:
        """The cluster, made when first asked for."""
        return self.clusters.setdefault(cluster_id, FakeCluster())

    def join(self, cluster_id: str, name: str, *, ready: bool = True, provider_id: str | None = None) -> None:
        """A kubelet registers and renews its lease from now on."""
        cluster = self.of(cluster_id)
        detail = "KubeletReady" if ready else "KubeletNotReady: cni plugin not initialized"
        cluster.nodes[name] = NodeView(name, ready, detail, provider_id)
        cluster.renewed[name] = self._clock.now()
        cluster.running.add(name)

    def beat(self) -> None:
        """All running kubelets renew their leases now."""
        for cluster in self.clusters.values():
            for name in cluster.running:
                cluster.renewed[name] = self._clock.now()

    async def renewals(self, target: Target) -> Mapping[str, datetime]:
        """See the port."""
        cluster = self.of(target.cluster_id)
        cluster.looks += 1
        if cluster.failure is not None:
            raise cluster.failure
        return dict(cluster.renewed)

    async def nodes(self, target: Target) -> Mapping[str, NodeView]:
        """See the port."""
        cluster = self.of(target.cluster_id)
        if cluster.failure is not None:
            raise cluster.failure
        return dict(cluster.nodes)

    async def forget(self, cluster_id: str) -> None:
        """See the port."""


def unreachable(code: str = "ApiUnreachable") -> RetryLater:
    """The failure that an adapter raises when nothing answers."""
    return RetryLater(timedelta(seconds=10), code, "connection refused")
