"""Looks at one cluster: observe, decide for each pool, commit nodes, decisions and announcements in one transaction.

The healer has no effects on the outside. What the rules are is in domain/.
"""

import random
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.ids import new_id
from slipway_chassis.service import Service
from slipway_chassis.work import Lease
from slipway_contracts.api import PoolSpec
from slipway_contracts.healer import Hold
from slipway_healer import store
from slipway_healer.domain.adoption import is_awaited
from slipway_healer.domain.gates import awaited
from slipway_healer.domain.healing import decide
from slipway_healer.domain.illness import is_unconfirmed
from slipway_healer.domain.model import Cluster, Decision, Node, Pool, Region
from slipway_healer.domain.record import digest_of, inputs_of, outcome_of, summary_of
from slipway_healer.domain.rows import Names, changed, minted
from slipway_healer.metrics import HealerMetrics
from slipway_healer.settings import Settings
from slipway_healer.store import CLUSTER, DecisionRecord, PoolRecord
from slipway_healer.visit import Visit, begin_visit, say_operations, say_pools

log = structlog.get_logger()

ASK_AGAIN_AFTER = timedelta(seconds=30)
FIRST_LIST_WITHIN = timedelta(seconds=5)
"""The provisioner announces its list of a new cluster by itself; an old one's is asked for at once."""


class HealerService(Service):
    """The healer: at start it looks at every cluster it knows."""

    async def start(self) -> None:
        """As any service; each cluster is due at once, and asks for the provisioner's list."""
        await super().start()
        async with self.transaction() as session:
            for cluster_id in await store.living_clusters(session):
                await work.mark_dirty(session, CLUSTER, cluster_id, self.clock.now())


class ClusterReconciler:
    """The one reconciler of the healer."""

    kind = CLUSTER
    service: Service
    """Set when the service is wired."""

    def __init__(self, settings: Settings, source: random.Random, metrics: HealerMetrics) -> None:
        self._settings = settings
        self._policy = settings.policy()
        self._random = source
        self._metrics = metrics

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """One look; returns when the next one is due, None while there is no spec and once the cluster is deleted."""
        service, now = self.service, self.service.clock.now()
        async with service.transaction() as session:
            await work.require(session, lease)
            visit = await begin_visit(session, service.announcer, lease.key, service.region, now)
            if visit is None or visit.record.deleted:
                return None
            await self._hold(visit)
            if visit.spec.deletion_requested_at is not None:
                await self._delete(visit)
            else:
                await self._heal(visit)
            await say_operations(visit, self._settings.default_addons)
            visit.record.spec = visit.spec.model_dump(mode="json")
        if visit.seen.is_deleted and visit.spec.deletion_requested_at is not None:
            return None
        return min([max(time - now, timedelta(0)) for time in visit.times] + [self._later()])

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Never needed: nothing of the healer's work is refused by somebody else."""

    def _later(self) -> timedelta:
        return self._settings.look_every * self._random.uniform(0.8, 1.2)

    async def _hold(self, visit: Visit) -> None:
        record = visit.record
        if visit.spec.deletion_requested_at is not None and record.hold != Hold.DELETION.value:
            record.hold = Hold.DELETION.value
            record.hold_since = visit.now
            record.hold_operation_id = visit.spec.operation_id
        await visit.voice.hold(Hold(record.hold), record.hold_operation_id, record.hold_since)

    async def _heal(self, visit: Visit) -> None:
        listed = visit.seen.listed_at is not None and visit.seen.listed_at >= self.service.started_at
        await self._ask_for_list(visit, listed)
        settings, region = self._settings, self.service.region
        bucket = await store.bucket_of(visit.session, region, settings.bucket_size, settings.bucket_refill, visit.now)
        for spec in visit.all_pools():
            cluster = Cluster(
                visit.spec.cluster_id,
                visit.spec.name,
                Hold(visit.record.hold),
                listed,
                tuple(visit.nodes),
                visit.seen.etcd,
            )
            sight = Region(visit.seen.trust, bucket.tokens - visit.tokens, bucket.next_at)
            await self._heal_pool(visit, spec, cluster, sight)
        if visit.tokens:
            await store.spend(visit.session, region, bucket, visit.tokens)
        await store.save_nodes(visit.session, visit.before, visit.nodes, visit.now)
        refusals = [refusal for each in visit.refusals.values() for refusal in each]
        visit.record.waits_for = awaited(refusals) or ""
        await say_pools(visit)

    async def _heal_pool(self, visit: Visit, spec: PoolSpec, cluster: Cluster, region: Region) -> None:
        record = visit.pools.get(spec.pool_id)
        if record is None:
            record = PoolRecord(pool_id=spec.pool_id, cluster_id=cluster.cluster_id, spec={})
            visit.session.add(record)
            visit.pools[spec.pool_id] = record
        pool, nodes = Pool(spec, store.memory_of(record)), visit.nodes_of(spec.pool_id)
        decision = decide(pool, nodes, cluster, region, self._policy, visit.now)
        await self._keep(visit, record, decision, pool, cluster, region)
        after = {node.node_id: node for node in visit.nodes}
        for change in decision.changes:
            after[change.node_id] = changed(after[change.node_id], change, spec, self._policy, visit.now)
        visit.nodes = list(after.values())
        for mint in decision.mint:
            names = await self._names(visit)
            visit.nodes.append(minted(mint, spec, cluster.cluster_id, cluster.name, names, self._policy, visit.now))
        record.spec = spec.model_dump(mode="json")
        record.memory = store.memory_document(decision.memory)
        visit.tokens += decision.tokens
        visit.refusals[spec.pool_id] = decision.refusals
        if decision.look_again_at is not None:
            visit.times.append(decision.look_again_at)

    async def _names(self, visit: Visit) -> Names:
        if visit.names is None:
            given = await store.names_given(visit.session, visit.spec.cluster_id)
            given |= {node.name for node in visit.nodes}
            visit.names = Names(self._random, lambda: new_id(visit.now, self._random), given)
        return visit.names

    async def _keep(
        self, visit: Visit, record: PoolRecord, decision: Decision, pool: Pool, cluster: Cluster, region: Region
    ) -> None:
        digest = digest_of(decision.refusals)
        if decision.does_nothing and digest == record.digest:
            return
        nodes = visit.nodes_of(pool.spec.pool_id)
        record.digest = digest
        summary = summary_of(decision, nodes)
        log.info("Decided", cluster_id=cluster.cluster_id, pool=pool.spec.name, decision=summary)
        self._metrics.count(decision)
        visit.session.add(
            DecisionRecord(
                decision_id=new_id(visit.now, self._random),
                cluster_id=cluster.cluster_id,
                pool_id=pool.spec.pool_id,
                decided_at=visit.now,
                summary=summary,
                inputs=inputs_of(pool, nodes, cluster, region),
                outcome=outcome_of(decision),
            )
        )
        await store.forget_decisions(visit.session, visit.now - store.DECISIONS_KEPT)

    async def _ask_for_list(self, visit: Visit, listed: bool) -> None:
        record, started_at = visit.record, self.service.started_at
        if listed and not any(self._only_a_list_tells(visit, node) for node in visit.nodes):
            return
        ask_at = visit.now if record.first_seen_at < started_at else record.first_seen_at + FIRST_LIST_WITHIN
        if record.list_asked_at is not None and record.list_asked_at >= started_at:
            ask_at = record.list_asked_at + ASK_AGAIN_AFTER
        if visit.now >= ask_at:
            await self.service.announcer.request_resync(visit.session, cluster_id=record.cluster_id)
            record.list_asked_at = visit.now
            ask_at = visit.now + ASK_AGAIN_AFTER
        visit.times.append(ask_at)

    def _only_a_list_tells(self, visit: Visit, node: Node) -> bool:
        spec = visit.spec.pool(node.pool_id)
        unconfirmed = spec is not None and is_unconfirmed(node, spec.health, self._policy, visit.now)
        return unconfirmed or is_awaited(node, visit.now)

    async def _delete(self, visit: Visit) -> None:
        nodes: list[Node] = [] if visit.seen.is_deleted else visit.nodes
        await store.save_nodes(visit.session, visit.before, nodes, visit.now)
        visit.nodes = [node for node in nodes if node.report is not None]
        for pool in visit.all_pools():
            await visit.voice.pool_removed(pool)
        visit.record.waits_for = ""
        if visit.seen.is_deleted:
            visit.record.deleted = True
            await store.stop_repeating(visit.session, visit.voice.lasting_subjects(list(visit.pools)))
