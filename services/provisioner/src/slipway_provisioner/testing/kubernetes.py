"""A stateful fake of the clusters' Kubernetes APIs: as much of them as the provisioner touches."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from slipway_chassis.errors import RetryLater
from slipway_provisioner.domain.kubernetes_nodes import Upkeep
from slipway_provisioner.ports import ClusterAccess, Eviction, KubernetesNode


@dataclass
class FakeCluster:
    """One cluster."""

    up: bool = True
    bound: bool = False
    nodes: dict[str, KubernetesNode] = field(default_factory=dict)
    pods: dict[str, int] = field(default_factory=dict)
    """Evictable pods by node."""
    protected: dict[str, int] = field(default_factory=dict)
    """How many of them a PodDisruptionBudget keeps."""


class FakeKubernetes:
    """All clusters, by endpoint. `is_up` says whether anything listens there, e.g. a controller that was set up."""

    def __init__(self, is_up: Callable[[str], bool] = lambda _endpoint: True) -> None:
        self.clusters: dict[str, FakeCluster] = {}
        self._is_up = is_up

    def at(self, endpoint: str) -> FakeCluster:
        """The cluster at this endpoint."""
        return self.clusters.setdefault(endpoint, FakeCluster())

    def join(self, endpoint: str, name: str, provider_id: str, version: str = "v1.36.3") -> None:
        """A kubelet registers its node."""
        node = KubernetesNode(
            name=name, provider_id=provider_id, ready=True, labels={}, unschedulable=False, kubelet_version=version
        )
        self.at(endpoint).nodes.setdefault(name, node)

    async def is_ready(self, access: ClusterAccess) -> bool:
        """See ports.KubernetesApi."""
        return self._is_up(access.endpoint) and self.at(access.endpoint).up

    async def is_bound(self, access: ClusterAccess) -> bool:
        """See ports.KubernetesApi."""
        return self._answering(access).bound

    async def ensure_bindings(self, access: ClusterAccess) -> None:
        """See ports.KubernetesApi."""
        self._answering(access).bound = True

    async def nodes(self, access: ClusterAccess) -> tuple[KubernetesNode, ...]:
        """See ports.KubernetesApi."""
        return tuple(self._answering(access).nodes.values())

    async def keep_node(self, access: ClusterAccess, node: KubernetesNode, change: Upkeep) -> bool:
        """See ports.KubernetesApi."""
        nodes = self._answering(access).nodes
        if nodes.get(node.name) != node:
            return False
        labels = {**node.labels, **change.labels}
        nodes[node.name] = replace(
            node,
            labels={key: value for key, value in labels.items() if value is not None},
            taints=node.taints if change.taints is None else change.taints,
            kept=node.kept if change.kept is None else change.kept,
        )
        return True

    async def cordon(self, access: ClusterAccess, node_name: str, *, on: bool) -> None:
        """See ports.KubernetesApi."""
        nodes = self._answering(access).nodes
        if node_name in nodes:
            nodes[node_name] = replace(nodes[node_name], unschedulable=on)

    async def evict(self, access: ClusterAccess, node_name: str) -> Eviction:
        """Pods that no budget keeps are gone at the next look. See ports.KubernetesApi."""
        cluster = self._answering(access)
        remaining, refused = cluster.pods.get(node_name, 0), cluster.protected.get(node_name, 0)
        cluster.pods[node_name] = refused
        return Eviction(remaining, refused)

    async def delete_node(self, access: ClusterAccess, node_name: str, provider_id: str | None) -> None:
        """See ports.KubernetesApi."""
        nodes = self._answering(access).nodes
        node = nodes.get(node_name)
        if node is not None and (provider_id is None or node.provider_id == provider_id):
            del nodes[node_name]

    def _answering(self, access: ClusterAccess) -> FakeCluster:
        cluster = self.at(access.endpoint)
        if not (cluster.up and self._is_up(access.endpoint)):
            raise RetryLater(timedelta(seconds=2), "ApiDoesNotAnswer", "The cluster's API does not answer")
        return cluster
