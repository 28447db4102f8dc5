"""A cluster's Kubernetes API as the provisioner keeps it: available, bound, and with truthful Node objects."""

from datetime import timedelta

import structlog

from slipway_chassis import crash
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.access import Accesses
from slipway_provisioner.cluster_store import Clusters
from slipway_provisioner.context import Context, node_record, spec_of
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.kubernetes_nodes import decide_upkeep, missing, release_range, superseded
from slipway_provisioner.ports import ClusterAccess, KubernetesNode
from slipway_provisioner.store import ClusterRecord, NodeRecord, nodes_of

log = structlog.get_logger()

API_POLL = timedelta(seconds=1)
"""While a control plane comes up: one small request."""

JOIN_POLL = timedelta(seconds=2)
"""While a kubelet's Node object is still to appear."""


class ControlPlane:
    """What is done through one cluster's endpoint."""

    def __init__(self, context: Context, clusters: Clusters, accesses: Accesses) -> None:
        self._context = context
        self._clusters = clusters
        self._accesses = accesses

    async def ensure(self, lease: Lease, cluster: ClusterRecord) -> timedelta:
        """The API is available and bound, and its nodes are labelled; returns when to look again."""
        async with self._context.database.reading() as session:
            nodes = await nodes_of(session, cluster.cluster_id)
        if not any(_serves(node) for node in nodes):
            return self._context.jittered(self._context.settings.cluster_check_every)
        if not await self._bindings(lease, cluster):
            return API_POLL
        await self._clusters.enter(lease, cluster, InfrastructurePhase.AVAILABLE)
        return await self._nodes(lease, cluster, [node for node in nodes if node.role != Role.ETCD.value])

    async def _bindings(self, lease: Lease, cluster: ClusterRecord) -> bool:
        """Whether /readyz answers through the endpoint and the services' own bindings are there."""
        now = self._context.now()
        check_every = self._context.settings.cluster_check_every
        if cluster.bound_at is not None and now < cluster.bound_at + check_every:
            return True
        access = await self._accesses.to(cluster.cluster_id)
        if not await self._context.kubernetes.is_ready(access):
            if cluster.phase == InfrastructurePhase.AVAILABLE.value:
                raise reasons.api_does_not_answer()
            return False
        await self._clusters.step_done(lease, cluster, "control_plane")
        if not await self._context.kubernetes.is_bound(access):
            log.info("Writing the services' bindings", cluster_id=cluster.cluster_id)
            master = await self._accesses.as_master(cluster.cluster_id)
            with crash.effect("provisioner.ensure_bindings"):
                await self._context.kubernetes.ensure_bindings(master)
        await self._clusters.step_done(lease, cluster, "bindings")
        await self._clusters.change(lease, cluster, bound_at=now)
        return True

    async def _nodes(self, lease: Lease, cluster: ClusterRecord, records: list[NodeRecord]) -> timedelta:
        """Labels and taints as the pools say, objects of servers that are gone, and the releases seen."""
        idle = self._context.jittered(self._context.settings.cluster_check_every)
        try:
            access = await self._accesses.to(cluster.cluster_id)
            found = await self._context.kubernetes.nodes(access)
            for node in superseded(records, found):
                log.info("Deleting the Node object of a server that is gone", name=node.name)
                with crash.effect("provisioner.delete_node_object"):
                    await self._context.kubernetes.delete_node(access, node.name, node.provider_id)
            settled = await self._keep(access, cluster, records, found)
        except (RetryLater, GiveUp) as refusal:
            log.info("Cannot look after nodes", cluster_id=cluster.cluster_id, reason=refusal.reason.message)
            return JOIN_POLL * 2
        await self._releases(lease, cluster, found)
        names = {node.name for node in found}
        await self._start_anew(lease, missing(records, names, self._context.now()))
        absent = any(each.phase == NodePhase.PROVISIONED.value and each.name not in names for each in records)
        return JOIN_POLL if absent or not settled else idle

    async def _start_anew(self, lease: Lease, node_ids: list[str]) -> None:
        """Let the kubelets of these nodes make their Node objects again: by their plans."""
        for node_id in node_ids:
            log.info("Node object is missing, its kubelet starts anew", node_id=node_id)
            async with self._context.holding(lease) as session:
                node = await node_record(session, node_id)
                if node is not None:
                    node.reregister_at = self._context.now()
                    await self._context.look_at_node(session, node_id)

    async def _keep(
        self,
        access: ClusterAccess,
        cluster: ClusterRecord,
        records: list[NodeRecord],
        found: tuple[KubernetesNode, ...],
    ) -> bool:
        """Labels and taints are as the pools say; False when a Node changed meanwhile."""
        async with self._context.database.reading() as session:
            spec = await spec_of(session, cluster.cluster_id)
        if spec is None:
            return True
        changes, settled = decide_upkeep(spec, records, found), True
        for node in found:
            if node.name in changes:
                log.info("Putting labels and taints right", name=node.name)
                with crash.effect("provisioner.keep_node"):
                    settled = await self._context.kubernetes.keep_node(access, node, changes[node.name]) and settled
        return settled

    async def _releases(self, lease: Lease, cluster: ClusterRecord, found: tuple[KubernetesNode, ...]) -> None:
        lowest, highest = release_range([node.kubelet_version for node in found if node.kubelet_version])
        if (lowest, highest) != (cluster.lowest_release, cluster.highest_release):
            await self._clusters.change(lease, cluster, lowest_release=lowest, highest_release=highest)


def _serves(node: NodeRecord) -> bool:
    return node.role == Role.CONTROLLER.value and node.joined_at is not None and node.phase != NodePhase.REMOVED.value
