"""Takes the rows of a pool's node table over: each becomes a node of our own, or changes what is wanted of one."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeRow, NodeTable, Wanted
from slipway_contracts.provisioner import NodePhase
from slipway_provisioner.context import NODE, TABLE, Context, node_record, spec_of
from slipway_provisioner.domain.rows import accept
from slipway_provisioner.store import NodeRecord

WAIT_FOR_SPEC = timedelta(seconds=5)
"""The table came before the cluster's spec; the spec's arrival does not know of tables."""


class TableReconciler:
    """Kind `table`, key `<cluster id>/<pool id>`."""

    kind = TABLE

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """Accept each row, in one transaction."""
        cluster_id, _, pool_id = lease.key.partition("/")
        async with self._context.holding(lease) as session:
            fact = await facts.fact_of(session, NodeTable, f"clusters/{cluster_id}/pools/{pool_id}")
            if fact is None:
                return None
            spec = await spec_of(session, cluster_id)
            if spec is None:
                return WAIT_FOR_SPEC
            for row in fact.body.nodes:
                await self._accept(session, spec, row)
        return self._context.jittered(self._context.settings.node_check_every * 10)

    async def _accept(self, session: AsyncSession, spec: ClusterSpec, row: NodeRow) -> None:
        node = await node_record(session, row.node_id)
        if node is None:
            if spec.deletion_requested_at is not None:
                return
            session.add(self._new(spec, row))
        else:
            accepted = accept(NodeRow.model_validate(node.row), row).model_dump(mode="json")
            if node.cluster_id != spec.cluster_id or accepted == node.row:
                return
            node.row = accepted
        await work.mark_dirty(session, NODE, row.node_id, self._context.now())

    def _new(self, spec: ClusterSpec, row: NodeRow) -> NodeRecord:
        now = self._context.now()
        never_was = row.wanted is Wanted.REMOVED
        return NodeRecord(
            node_id=row.node_id,
            cluster_id=spec.cluster_id,
            pool_id=row.pool_id,
            project_id=spec.project_id,
            name=row.name,
            role=row.role.value,
            row=row.model_dump(mode="json"),
            incarnation=row.incarnation,
            reboots=row.reboots,
            phase=(NodePhase.REMOVING if never_was else NodePhase.PENDING).value,
            since=now,
            created_at=now,
        )

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Nothing outside is asked here, so nothing is refused."""
