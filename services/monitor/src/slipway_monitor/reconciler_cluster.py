"""Brings what is said of one cluster and its nodes to what is seen of them."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.outbox import Announcer
from slipway_chassis.work import Lease
from slipway_contracts.monitor import ClusterHealth, EtcdMembership, Verdict, WitnessName
from slipway_contracts.values import Role
from slipway_monitor import store
from slipway_monitor.conclusions import Conclusions, Speaker
from slipway_monitor.domain.alerts import AlertLimits, conditions_of, decide_alerts
from slipway_monitor.domain.etcd import look_at_etcd
from slipway_monitor.domain.model import AgentView, Limits, Sight
from slipway_monitor.domain.verdict import NodeFinding, Reached, judge_cluster, judge_node, next_look
from slipway_monitor.listening import Heard
from slipway_monitor.looks import Looked, Looks
from slipway_monitor.scene import Scene, observe_scene, refresh_scene
from slipway_monitor.store import ClusterRecord

KIND = "cluster"

QUIET = timedelta(seconds=60)
"""Between two looks at a cluster of which nothing can be seen or expected."""


@dataclass(frozen=True)
class Kept:
    """A cluster as it was read under a lease, when nothing followed from it."""

    lease: Lease
    scene: Scene

    def holds_for(self, lease: Lease) -> bool:
        """Whether nobody marked the cluster dirty since, and no other replica was at it."""
        return lease.version == self.lease.version and lease.fence == self.lease.fence + 1


@dataclass
class ClusterReconciler:
    """Look, judge, say what changed."""

    database: Database
    clock: Clock
    announcer: Announcer
    looks: Looks
    heard: Heard
    speaker: Speaker
    limits: Limits
    alert_limits: AlertLimits
    kind: str = KIND
    _kept: dict[str, Kept] = field(default_factory=dict)

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """One look at the cluster; returns when to look again, None once it is deleted."""
        scene = await self._observe(lease)
        if scene.over:
            await self._forget(lease, scene)
            return None
        looked = Looked(None, fresh=False)
        if scene.target is not None:
            looked = await self.looks.look(scene.target, scene.nodes)
        sight = self._sight(scene)
        conclusions = self._conclude(scene, sight, looked)
        async with self.database.transaction() as session:
            await work.require(session, lease)
            said = await self.speaker.say(session, scene, conclusions, sight.now)
        for node_id in scene.records.keys() - {node.state.node_id for node in scene.nodes}:
            self.heard.forget(node_id)
        if not said:
            self._kept[lease.key] = Kept(lease, replace(scene, record=conclusions.record))
        if scene.deleting:
            return QUIET
        if looked.reused:
            # what made the cluster dirty may not be in a look that is older than it
            return self.limits.look_soonest
        return next_look(scene.nodes, sight, self.limits)

    async def _observe(self, lease: Lease) -> Scene:
        """Read the cluster anew, or only what moves by itself where nothing else can have changed."""
        kept = self._kept.pop(lease.key, None)
        async with self.database.reading() as session:
            if kept is not None and kept.holds_for(lease):
                return await refresh_scene(session, kept.scene, self.announcer.region)
            return await observe_scene(session, lease.key, self.announcer.region)

    async def refused(self, session: object, key: str, refusal: RetryLater | GiveUp) -> None:
        """Nothing to turn into a condition: a look that fails is itself what was observed."""

    async def _forget(self, lease: Lease, scene: Scene) -> None:
        await self.looks.forget(scene.cluster_id)
        for node_id in scene.records:
            self.heard.forget(node_id)
        async with self.database.transaction() as session:
            await work.require(session, lease)
            await self.speaker.forget_cluster(session, scene, self.clock.now())
            await store.forget_cluster(session, scene.cluster_id)

    def _sight(self, scene: Scene) -> Sight:
        agents = dict(scene.agents)
        for node in scene.nodes:
            newest = self.heard.latest(node.state.node_id)
            known = agents.get(node.state.node_id)
            if newest is not None and (known is None or newest.received_at > known.received_at):
                agents[node.state.node_id] = AgentView(newest.received_at, newest.observation)
        ids = [node.state.node_id for node in scene.nodes]
        sight = Sight(
            now=self.clock.now(),
            kubernetes=self.looks.last(scene.target),
            cloud=scene.cloud,
            agents=agents,
            listening_since=self.heard.since,
            others_heard_at={each: _later(scene.heard_elsewhere(each), self.heard.elsewhere(each)) for each in ids},
        )
        said = EtcdMembership.model_validate_json(scene.record.etcd) if scene.record.etcd else None
        return replace(sight, etcd=look_at_etcd(scene.cluster_id, scene.nodes, sight, said, self.limits))

    def _conclude(self, scene: Scene, sight: Sight, looked: Looked) -> Conclusions:
        findings = [] if scene.deleting else [judge_node(node, sight, self.limits) for node in scene.nodes]
        record = _reached(scene, looked, findings, sight.now)
        etcd = None if scene.deleting else sight.etcd.membership
        record.etcd = record.etcd if etcd is None else etcd.model_dump_json()
        reached = Reached(record.expected, record.seen_at, record.failing_since, record.cause)
        said = ClusterHealth.model_validate_json(record.health) if record.health else None
        cluster = judge_cluster(scene.cluster_id, findings, reached, said, sight.now, self.limits)
        lasting = said if said is not None and cluster.health.verdict is Verdict.UNKNOWN else cluster.health
        if cluster.event is not None:
            record.health = cluster.health.model_dump_json()
        everybody = bool(findings) and all(each.lasting.verdict is Verdict.HEALTHY for each in findings)
        record.ever_well = record.ever_well or (everybody and cluster.health.verdict is Verdict.HEALTHY)
        conditions = conditions_of(scene.spec, findings, lasting, ever_well=record.ever_well, limits=self.alert_limits)
        alerts = decide_alerts(conditions, set(scene.alerts), sight.now)
        return Conclusions(tuple(findings), cluster, etcd, record, alerts)


def _reached(scene: Scene, looked: Looked, findings: list[NodeFinding], now: datetime) -> ClusterRecord:
    """The cluster's row as it is after this look."""
    record = ClusterRecord(**scene.record.model_dump())
    record.project_id = scene.spec.project_id if scene.spec else record.project_id
    record.expected = scene.target is not None
    record.well_from_inside = any(_well_controller(each) for each in findings)
    if looked.fresh and looked.look is not None:
        record.seen_at, record.failing_since, record.cause = looked.look.at, None, ""
    elif looked.failure is not None:
        record.failing_since = record.failing_since or now
        record.cause = looked.failure.message
    if not record.expected:
        record.failing_since, record.cause = None, ""
    return record


def _well_controller(finding: NodeFinding) -> bool:
    return finding.node.role is Role.CONTROLLER and any(
        each.name is WitnessName.AGENT and each.verdict is Verdict.HEALTHY for each in finding.health.witnesses
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((each for each in (one, other) if each is not None), default=None)
