"""The round over the region: what the cloud says of its servers, and whether what is seen may be acted upon."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.outbox import Announcer
from slipway_chassis.work import Lease
from slipway_contracts.monitor import RegionObserved
from slipway_contracts.values import Reason
from slipway_monitor import store
from slipway_monitor.domain.model import NOT_FOUND
from slipway_monitor.domain.trust import ClusterSight, Loss, LossMemory, RegionSight, TrustLimits, judge_region
from slipway_monitor.metrics import MonitorMetrics
from slipway_monitor.ports import ServerList
from slipway_monitor.reconciler_cluster import KIND as CLUSTER
from slipway_monitor.rounds import Known, Round, observe_servers
from slipway_monitor.scene import row_of, view_of
from slipway_monitor.store import ClusterRecord, RegionRecord

log = structlog.get_logger()

KIND = "region"
SOONEST = timedelta(seconds=1)


@dataclass
class RegionReconciler:
    """One round after the other; each is announced, also when it saw nothing."""

    database: Database
    clock: Clock
    announcer: Announcer
    servers: ServerList
    limits: TrustLimits
    every: timedelta
    full_every: timedelta
    metrics: MonitorMetrics
    kind: str = KIND

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """List, judge, announce; the next round starts `every` after this one did."""
        began = self.clock.now()
        async with self.database.reading() as session:
            remembered = await store.region_of(session, lease.key)
            clusters = await store.clusters_watched(session)
            full = (
                remembered.cursor is None
                or remembered.listed_fully_at is None
                or began - remembered.listed_fully_at >= self.full_every
            )
            known = Known(
                projects=sorted({each.project_id for each in clusters if each.project_id}),
                cursor=remembered.cursor,
                full=full,
                listed=await store.server_ids_wanted(session, listed=True) if full else {},
                unlisted=await store.server_ids_wanted(session, listed=False),
            )
        seen = await observe_servers(self.servers, known)
        async with self.database.transaction() as session:
            await work.require(session, lease)
            await self._keep(session, seen, full=known.full)
            await self._announce(session, remembered, seen, began, full=known.full)
        return max(self.every - (self.clock.now() - began), SOONEST)

    async def refused(self, session: object, key: str, refusal: RetryLater | GiveUp) -> None:
        """Nothing to turn into a condition: a cloud that does not answer is itself what was observed."""

    async def _keep(self, session: AsyncSession, seen: Round, *, full: bool) -> None:
        """Write what changed, and have the clusters looked at that it concerns."""
        stored = await store.servers_by_id(session, [each.server_id for each in seen.servers])
        for listed in seen.servers:
            row = stored.get(listed.server_id)
            view = listed
            if row is not None and listed.status == NOT_FOUND:
                view = replace(view_of(row), status=NOT_FOUND, task_state=None)
            if row is not None and view_of(row) == view:
                continue
            await store.save(session, row_of(view))
            cluster_id = view.cluster_id or (row.cluster_id if row else None)
            if cluster_id is not None and await store.cluster_of(session, cluster_id) is not None:
                await work.mark_dirty(session, CLUSTER, cluster_id, self.clock.now())
        if full and seen.failure is None:
            await store.forget_unused_servers(session)

    async def _announce(
        self, session: AsyncSession, remembered: RegionRecord, seen: Round, began: datetime, *, full: bool
    ) -> None:
        clusters = await store.clusters_watched(session)
        sight = RegionSight(
            region=remembered.region,
            now=self.clock.now(),
            cloud_failure=seen.failure or _all_unreached(clusters, seen.unreached),
            joined=await store.joined_by_zone(session),
            losses=[Loss(row.node_id, row.zone, row.bad_since) for row in await store.losses(session) if row.bad_since],
            clusters=[
                ClusterSight(
                    each.cluster_id, None if each.project_id in seen.unreached else each.seen_at, each.well_from_inside
                )
                for each in clusters
                if each.expected
            ],
        )
        memory = LossMemory(remembered.suspect_since, remembered.last_loss_at, remembered.message)
        trust, memory = judge_region(sight, memory, self.limits)
        remembered.suspect_since, remembered.last_loss_at = memory.suspect_since, memory.last_loss_at
        remembered.message = memory.message
        if seen.failure is None:
            remembered.listed_at, remembered.cursor = began, seen.cursor
            remembered.listed_fully_at = began if full else remembered.listed_fully_at
        await store.save(session, remembered)
        await self.announcer.announce(session, RegionObserved, f"regions/{remembered.region}", trust)
        self._measure(seen, trusted=trust.trusted, unseen=len(trust.clusters_unseen))

    def _measure(self, seen: Round, *, trusted: bool, unseen: int) -> None:
        self.metrics.rounds.labels(outcome=seen.failure.code if seen.failure else "seen").inc()
        self.metrics.trusted.set(1 if trusted else 0)
        self.metrics.unseen.set(unseen)
        self.metrics.unreached.set(len(seen.unreached))
        if seen.failure is not None:
            log.warning("The cloud was not observed", code=seen.failure.code, cause=seen.failure.message)


def _all_unreached(clusters: Sequence[ClusterRecord], unreached: Mapping[str, Reason]) -> Reason | None:
    """Where not one project could be listed, the cloud was not observed."""
    projects = {each.project_id for each in clusters if each.project_id}
    return next(iter(unreached.values()), None) if projects and projects <= unreached.keys() else None
