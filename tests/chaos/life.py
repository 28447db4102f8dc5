"""A cluster's life while something breaks: how it begins, how far it is, and what must be true at its end."""

import httpx

from slipway_chassis.tls import SERVICES
from slipway_platform.platform import Platform
from slipway_platform.testing import ServerHistory, User, until

SMALL = 3
"""Nodes of a cluster as `begin` asks for it: one etcd, one controller, one worker."""
CONVERGED_WITHIN = 150.0
"""Seconds; a bound that only a defect reaches, far above what a busy machine takes."""


class Lives:
    """Clusters of one user; when it is made, what the project has in the cloud is what must be left at the end."""

    def __init__(self, platform: Platform, user: User, history: ServerHistory) -> None:
        self._platform = platform
        self._user = user
        self._history = history
        self._before = user.inventory()

    def begin(self, cluster: str) -> None:
        """Ask for a small cluster."""
        self._user.slipway(
            "cluster", "create", cluster, "--etcd", "1", "--controllers", "1", "--workers", "1", "--no-wait"
        )

    def scale(self, cluster: str, workers: int) -> None:
        """Ask for another number of workers."""
        self._user.slipway("pool", "scale", cluster, "worker", str(workers), "--no-wait")

    def begin_deletion(self, cluster: str) -> None:
        """Ask for the end of the cluster."""
        self._user.slipway("cluster", "delete", cluster, "--yes", "--no-wait")

    def until_servers(self, cluster: str, number: int) -> None:
        """Wait until the cloud has at least so many servers of the cluster."""
        until(lambda: self.servers(cluster) >= number, f"{cluster} has {number} servers", CONVERGED_WITHIN)

    def servers(self, cluster: str) -> int:
        """How many servers of the cluster the cloud has."""
        return sum(each.startswith(f"server {cluster}-") for each in self._user.inventory())

    def until_ready(self, cluster: str, nodes: int = SMALL) -> None:
        """Wait until the cluster is ready with so many nodes, all of them ready."""
        until(lambda: self._is_ready(cluster, nodes), f"{cluster} is ready with {nodes} nodes", CONVERGED_WITHIN)

    def until_deleted(self, cluster: str) -> None:
        """Wait until nobody knows the cluster any more; then nothing of it may be left in the cloud."""
        until(lambda: self._is_gone(cluster), f"{cluster} is deleted", CONVERGED_WITHIN)
        assert self._user.inventory() == self._before

    def end(self, cluster: str) -> None:
        """What must be true of a ready cluster: one server for each node ever, and nothing left after its deletion."""
        self.require_one_server_for_each_node(cluster)
        self.begin_deletion(cluster)
        self.until_deleted(cluster)

    def require_one_server_for_each_node(self, cluster: str) -> None:
        """AssertionError when a node of the cluster ever had two servers."""
        self._history.require_one_server_for_each_node(self._user, cluster)

    def _is_ready(self, cluster: str, nodes: int) -> bool:
        try:
            if self._user.get(f"/v1/clusters/{cluster}")["state"] != "ready":
                return False
            rows = self._user.nodes(cluster)
        except httpx.HTTPError:
            return False
        return [each["state"] for each in rows] == ["ready"] * nodes

    def _is_gone(self, cluster: str) -> bool:
        try:
            return self._user.http.get(f"/v1/clusters/{cluster}").status_code == httpx.codes.NOT_FOUND
        except httpx.HTTPError:
            return False


def every_replica() -> list[tuple[str, int]]:
    """Each service with each number of its replicas."""
    return [(service, replica) for service in SERVICES for replica in (1, 2)]


def none_ready(platform: Platform) -> bool:
    """Whether every replica of every service says that it is not ready."""
    return not any(platform.ready_check(*each).holds() for each in every_replica())


def require_none_ended(platform: Platform) -> None:
    """ProcessFailedError when a replica ended by itself: nobody starts it again here, nor would that help."""
    for each in every_replica():
        platform.process(*each).require_running()
