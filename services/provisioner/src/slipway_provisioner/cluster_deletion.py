"""How a whole cluster goes: nodes, endpoint, ports, groups; the end verified by listing the project."""

from collections.abc import Sequence
from datetime import timedelta

import structlog

from slipway_chassis import crash
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase, Remainder
from slipway_contracts.values import Mover, Reason
from slipway_provisioner.access import Accesses
from slipway_provisioner.cluster_parts import SPREAD
from slipway_provisioner.cluster_store import Clusters
from slipway_provisioner.context import Context, cluster_record
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.model import BALANCER_PARTS, Found, Kind
from slipway_provisioner.ledger_recovery import LedgerRecovery
from slipway_provisioner.ports import Conflict
from slipway_provisioner.store import ClusterRecord, LedgerEntry, NodeRecord, entries_of, entry_by_id, nodes_of
from slipway_provisioner.store_keys import forget_cluster_keys

log = structlog.get_logger()

GOES: tuple[tuple[Kind, ...], ...] = (
    (Kind.SERVER,),
    (Kind.LOAD_BALANCER,),
    BALANCER_PARTS,
    (Kind.FLOATING_IP,),
    (Kind.PORT,),
    (Kind.SECURITY_GROUP, Kind.SERVER_GROUP),
)
"""In which order the shared parts go, after all nodes; a server that is still there is one of a forgotten node."""

NODES_POLL = timedelta(seconds=5)
"""Each node that is gone makes the cluster dirty; this is for the case that it was lost."""


class ClusterDeletion:
    """Removes all that the ledger has of a cluster."""

    def __init__(self, context: Context, clusters: Clusters, accesses: Accesses, recovery: LedgerRecovery) -> None:
        self._context = context
        self._clusters = clusters
        self._accesses = accesses
        self._recovery = recovery

    async def reconcile(self, lease: Lease, cluster: ClusterRecord) -> timedelta | None:
        """One turn of the deletion; None when nothing is left."""
        await self._begin(lease, cluster)
        nodes, entries = await self._observe(cluster)
        if any(node.phase != NodePhase.REMOVED.value for node in nodes):
            await self._say_remaining(lease, cluster, entries, nodes)
            return NODES_POLL
        try:
            await self._groups_known(lease, cluster)
            await self._parts_gone(lease, cluster, entries)
            strays = await self._verify(lease, cluster)
        except (RetryLater, GiveUp) as refusal:
            _, left = await self._observe(cluster)
            await self._say_remaining(lease, cluster, left, nodes, refusal.reason)
            raise
        if strays:
            await self._name_strays(lease, cluster, strays)
            return self._context.settings.cluster_check_every
        await self._end(lease, cluster)
        return None

    async def _begin(self, lease: Lease, cluster: ClusterRecord) -> None:
        if cluster.phase == InfrastructurePhase.DELETING.value:
            return
        await self._clusters.enter(lease, cluster, InfrastructurePhase.DELETING)
        async with self._context.holding(lease) as session:
            await self._context.look_at_nodes(session, cluster.cluster_id)

    async def _observe(self, cluster: ClusterRecord) -> tuple[Sequence[NodeRecord], Sequence[LedgerEntry]]:
        async with self._context.database.reading() as session:
            nodes = await nodes_of(session, cluster.cluster_id)
            return nodes, await entries_of(session, cluster.cluster_id)

    async def _groups_known(self, lease: Lease, cluster: ClusterRecord) -> None:
        """Server groups carry no mark: those that the ledger does not have are looked for by their names."""
        for role in SPREAD:
            await self._recovery.enter_unmarked(lease, cluster, Kind.SERVER_GROUP, f"server_group/{role}", role.value)

    async def _parts_gone(self, lease: Lease, cluster: ClusterRecord, entries: Sequence[LedgerEntry]) -> None:
        for kinds in GOES:
            for entry in entries:
                if Kind(entry.kind) not in kinds:
                    continue
                if kinds is BALANCER_PARTS:
                    await self._context.ledger.mark_gone(lease, entry)
                else:
                    await self._part_gone(lease, cluster, entry)

    async def _part_gone(self, lease: Lease, cluster: ClusterRecord, entry: LedgerEntry) -> None:
        try:
            await self._context.ledger.ensure_gone(lease, entry)
        except Conflict:
            # by what the ledger knows nothing uses it any more
            await self._recovery.enter(lease, cluster, await self._marked(cluster))
            raise

    async def _verify(self, lease: Lease, cluster: ClusterRecord) -> tuple[Found, ...]:
        """List what still carries the cluster's mark: what is ours is deleted, what is not ours is returned."""
        strays = []
        late = False
        marked = await self._marked(cluster)
        if await self._recovery.enter(lease, cluster, marked):
            raise RetryLater(reasons.WHILE, "WaitingForDeletion", "What the ledger had forgotten is being deleted")
        for found in marked:
            async with self._context.database.reading() as session:
                entry = await entry_by_id(session, cluster.cluster_id, found.resource_id)
            if entry is None:
                strays.append(found)
                continue
            late = True
            log.warning("Deleting what was made late", kind=found.kind.value, cloud_id=found.cloud_id)
            with crash.effect(f"provisioner.delete_{found.kind.value}"):
                await self._context.cloud.delete(cluster.project_id, found.kind, found.cloud_id)
        if late:
            raise RetryLater(reasons.WHILE, "WaitingForDeletion", "The last resources are being deleted")
        return tuple(strays)

    async def _marked(self, cluster: ClusterRecord) -> tuple[Found, ...]:
        return await self._context.cloud.list_marked(cluster.project_id, cluster.cluster_id)

    async def _name_strays(self, lease: Lease, cluster: ClusterRecord, strays: Sequence[Found]) -> None:
        reason = reasons.reason(
            "NotOurs", "It carries this cluster's tag but was not made by Slipway: delete it or its tag", Mover.USER
        )
        remaining = [_remainder(each.kind.value, each.cloud_id, each.name, reason) for each in strays]
        await self._clusters.change(lease, cluster, remaining=remaining, waiting=reason.model_dump(mode="json"))

    async def _say_remaining(
        self,
        lease: Lease,
        cluster: ClusterRecord,
        entries: Sequence[LedgerEntry],
        nodes: Sequence[NodeRecord],
        reason: Reason | None = None,
    ) -> None:
        waits = {node.node_id: Reason.model_validate(node.waiting) for node in nodes if node.waiting}
        remaining = [
            _remainder(entry.kind, entry.cloud_id or "unknown", entry.name, waits.get(entry.node_id or "", reason))
            for entry in entries
            if Kind(entry.kind) not in BALANCER_PARTS
        ]
        if remaining != cluster.remaining:
            await self._clusters.change(lease, cluster, remaining=remaining)

    async def _end(self, lease: Lease, cluster: ClusterRecord) -> None:
        log.info("Nothing is left of the cluster", cluster_id=cluster.cluster_id, name=cluster.name)
        self._accesses.forget(cluster.cluster_id)
        async with self._context.holding(lease) as session:
            stored = await cluster_record(session, cluster.cluster_id)
            assert stored is not None, "records of clusters stay"
            stored.phase, stored.since = InfrastructurePhase.DELETED.value, self._context.now()
            stored.waiting, stored.remaining = None, []
            await self._clusters.announce(session, stored)
            await forget_cluster_keys(session, cluster.cluster_id)


def _remainder(kind: str, cloud_id: str, name: str, reason: Reason | None) -> dict[str, object]:
    return Remainder(kind=kind, cloud_id=cloud_id, name=name, reason=reason).model_dump(mode="json")
