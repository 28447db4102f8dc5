"""Brings the shared parts of one cluster to where they should be, one step after the other; deletes them at the end."""

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeTable
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_contracts.values import Mover
from slipway_provisioner.cluster_deletion import ClusterDeletion
from slipway_provisioner.cluster_parts import ClusterParts
from slipway_provisioner.cluster_store import Clusters
from slipway_provisioner.context import CLUSTER, TABLE, Context, cluster_record, spec_of
from slipway_provisioner.control_plane import ControlPlane
from slipway_provisioner.store import ClusterRecord

log = structlog.get_logger()


class ClusterReconciler:
    """Kind `cluster`, key cluster id."""

    kind = CLUSTER

    def __init__(
        self,
        context: Context,
        clusters: Clusters,
        parts: ClusterParts,
        control_plane: ControlPlane,
        deletion: ClusterDeletion,
    ) -> None:
        self._context = context
        self._clusters = clusters
        self._parts = parts
        self._control_plane = control_plane
        self._deletion = deletion

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """The shared parts in their order, then the control plane behind them."""
        spec, cluster = await self._observe(lease)
        if spec is None or cluster is None or cluster.phase == InfrastructurePhase.DELETED.value:
            return None
        if spec.deletion_requested_at is not None:
            return await self._deletion.reconcile(lease, cluster)
        refusal = await self._ensure_parts(lease, spec, cluster)
        await self._clusters.enter(lease, cluster, InfrastructurePhase.READY)
        delay = await self._control_plane.ensure(lease, cluster)
        if refusal is not None:
            raise refusal
        await self._clusters.clear(lease)
        return delay

    async def _ensure_parts(
        self, lease: Lease, spec: ClusterSpec, cluster: ClusterRecord
    ) -> RetryLater | GiveUp | None:
        """What the shared parts wait for; raised at once while there is no control plane behind them to look after."""
        try:
            await self._parts.ensure(lease, spec, cluster)
        except (RetryLater, GiveUp) as refusal:
            if cluster.phase != InfrastructurePhase.AVAILABLE.value:
                raise
            return refusal
        return None

    async def _observe(self, lease: Lease) -> tuple[ClusterSpec | None, ClusterRecord | None]:
        async with self._context.holding(lease) as session:
            spec = await spec_of(session, lease.key)
            if spec is None:
                return None, None
            cluster = await cluster_record(session, lease.key)
            if cluster is None:
                cluster = self._new(spec)
                session.add(cluster)
                for fact in await facts.facts_of(session, NodeTable, cluster_id=spec.cluster_id):
                    key = f"{spec.cluster_id}/{fact.body.pool_id}"
                    await work.mark_dirty(session, TABLE, key, self._context.now())
            return spec, cluster

    def _new(self, spec: ClusterSpec) -> ClusterRecord:
        return ClusterRecord(
            cluster_id=spec.cluster_id,
            project_id=spec.project_id,
            name=spec.name,
            phase=InfrastructurePhase.PENDING.value,
            since=self._context.now(),
            endpoint_port=self._context.region.endpoint.port,
            reach=self._context.region.endpoint.reach.value,
        )

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Show the reason at the cluster."""
        cluster = await cluster_record(session, key)
        if cluster is None:
            return
        reason = refusal.reason
        if isinstance(refusal, RetryLater) and reason.whose_move in (Mover.USER, Mover.OPERATOR):
            reason = reason.model_copy(update={"retry_at": self._context.now() + refusal.after})
        cluster.waiting = reason.model_dump(mode="json")
        await self._clusters.announce(session, cluster)
