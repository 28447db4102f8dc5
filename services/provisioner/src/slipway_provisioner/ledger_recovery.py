"""What the ledger has forgotten, for its database went back to an older state: found by its mark, and entered again.

A resource of ours carries its cluster and what it is for, and its ledger id follows from both: nobody else's does.
What is found so is adopted when it is wanted again, under the same key. What nobody wants for a while is deleted. What
has no such mark, or the mark of a cluster that this region never heard of, is left alone.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_provisioner.context import LEDGER, Context
from slipway_provisioner.domain.model import Found, Kind
from slipway_provisioner.domain.naming import resource_id_of, resource_name
from slipway_provisioner.store import ClusterRecord, EntryState, LedgerEntry, entries_by_id, entry_for

log = structlog.get_logger()

AGAIN = timedelta(seconds=10)
"""A deletion that takes its time is looked at again."""


class LedgerRecovery:
    """Kind `ledger`, key project id."""

    kind = LEDGER

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """Compare the project with the ledger, enter what was forgotten, delete what nobody wanted since."""
        clusters = await self._clusters(lease.key)
        found = await self._context.cloud.list_marked(lease.key)
        for cluster_id in sorted({each.cluster_id or "" for each in found}):
            mine = [each for each in found if each.cluster_id == cluster_id]
            if cluster_id in clusters:
                await self.enter(lease, clusters[cluster_id], mine)
            else:
                log.warning("Marked by a cluster that is not known", cluster_id=cluster_id, resources=len(mine))
        delay = self._context.jittered(self._context.settings.ledger_check_every)
        for entry in await self._unwanted(clusters):
            try:
                await self._context.ledger.ensure_gone(lease, entry)
            except RetryLater as refusal:
                log.info("Cannot delete yet", name=entry.name, reason=refusal.reason.message)
                delay = AGAIN  # one that does not go keeps no other one
        return delay

    async def enter(self, lease: Lease, cluster: ClusterRecord, found: Sequence[Found]) -> int:
        """Enter what the cluster's ledger has forgotten of these; returns how many there were.

        The list was made before: what is made meanwhile was written down before it was asked for.
        """
        ours = {each.resource_id or "": each for each in found if each.is_ours}
        async with self._context.holding(lease) as session:
            for entry in await entries_by_id(session, sorted(ours)):
                del ours[entry.resource_id]
            for each in ours.values():
                assert each.key is not None, "what is ours has a key"
                log.warning("Found what the ledger had forgotten", key=each.key, cloud_id=each.cloud_id)
                self._add(session, cluster, each.kind, each.key, each.name, EntryState.FOUND)
        return len(ours)

    async def enter_unmarked(self, lease: Lease, cluster: ClusterRecord, kind: Kind, key: str, label: str) -> None:
        """Enter what there may be without a mark, so that it is looked for by its name before its cluster is gone."""
        async with self._context.holding(lease) as session:
            if await entry_for(session, cluster.cluster_id, key) is None:
                name = resource_name(cluster.name, label, resource_id_of(cluster.cluster_id, key))
                self._add(session, cluster, kind, key, name, EntryState.INTENDED)

    def _add(
        self, session: AsyncSession, cluster: ClusterRecord, kind: Kind, key: str, name: str, state: EntryState
    ) -> None:
        now = self._context.now()
        session.add(
            LedgerEntry(
                resource_id=resource_id_of(cluster.cluster_id, key),
                cluster_id=cluster.cluster_id,
                key=key,
                node_id=_node_of(kind, key),
                kind=kind.value,
                name=name,
                project_id=cluster.project_id,
                state=state.value,
                created_at=now,
                changed_at=now,
            )
        )

    async def _clusters(self, project_id: str) -> dict[str, ClusterRecord]:
        async with self._context.database.reading() as session:
            query = select(ClusterRecord).where(col(ClusterRecord.project_id) == project_id)
            return {each.cluster_id: each for each in (await session.execute(query)).scalars()}

    async def _unwanted(self, clusters: dict[str, ClusterRecord]) -> list[LedgerEntry]:
        """What was found and not adopted for a while, or whose cluster is gone; and deletions that are under way."""
        async with self._context.database.reading() as session:
            query = select(LedgerEntry).where(
                col(LedgerEntry.cluster_id).in_(clusters),
                col(LedgerEntry.state).in_((EntryState.FOUND.value, EntryState.DELETING.value)),
            )
            entries = (await session.execute(query.order_by(col(LedgerEntry.kind).desc()))).scalars().all()
        since = self._context.now() - self._context.settings.forgotten_kept_for
        return [
            entry
            for entry in entries
            if entry.created_at <= since
            or clusters[entry.cluster_id].phase == InfrastructurePhase.DELETED.value
            or entry.state == EntryState.DELETING.value
        ]

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """The cloud did not answer; nobody's state becomes worse by that."""
        log.warning("Cannot compare the ledger with the cloud", project_id=key, reason=refusal.reason.message)


def _node_of(kind: Kind, key: str) -> str | None:
    """The node of a server or a port; the endpoint's port is no node's."""
    whose = key.split("/")[1] if kind in (Kind.SERVER, Kind.PORT) else "endpoint"
    return whose if whose != "endpoint" else None
