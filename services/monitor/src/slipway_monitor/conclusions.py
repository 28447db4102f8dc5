"""Says what was concluded: rows and announcements of one transaction."""

from dataclasses import dataclass
from datetime import datetime
from random import Random

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.ids import new_id
from slipway_chassis.outbox import Announcer
from slipway_contracts.monitor import (
    Alert,
    AlertRaised,
    AlertResolved,
    ClusterForgotten,
    ClusterHealth,
    EtcdMembership,
    EtcdMembershipChanged,
    EtcdMembershipForgotten,
    NodeForgotten,
    NodeHealth,
    NodeReady,
    Verdict,
)
from slipway_contracts.provisioner import NodeState, ServerState
from slipway_monitor import store
from slipway_monitor.domain.alerts import AlertDecision, Condition
from slipway_monitor.domain.verdict import ClusterFinding, NodeFinding
from slipway_monitor.metrics import MonitorMetrics
from slipway_monitor.scene import Scene
from slipway_monitor.store import AlertRecord, ClusterRecord, NodeRecord


@dataclass(frozen=True)
class Conclusions:
    """What one look at a cluster led to."""

    nodes: tuple[NodeFinding, ...]
    cluster: ClusterFinding
    etcd: EtcdMembership | None
    record: ClusterRecord
    alerts: AlertDecision


@dataclass
class Speaker:
    """Writes conclusions down and announces what changed."""

    announcer: Announcer
    random: Random
    metrics: MonitorMetrics

    async def say(self, session: AsyncSession, scene: Scene, conclusions: Conclusions, now: datetime) -> bool:
        """All of it, in this transaction; returns whether more than the time of the last look changed."""
        changed = bool(conclusions.alerts.raises or conclusions.alerts.resolves or conclusions.cluster.event)
        for finding in conclusions.nodes:
            changed = await self._node(session, scene, finding, now) or changed
        changed = await self._absent(session, scene) or changed
        if conclusions.cluster.event is not None:
            subject = f"clusters/{scene.cluster_id}/health"
            await self.announcer.announce(session, conclusions.cluster.event, subject, conclusions.cluster.health)
        if conclusions.etcd is not None and conclusions.record.etcd != scene.record.etcd:
            await self.announcer.announce(session, EtcdMembershipChanged, _etcd(scene), conclusions.etcd)
            changed = True
        if conclusions.record.model_dump() != scene.record.model_dump():
            await store.save(session, conclusions.record)
        await self._alerts(session, scene, conclusions.alerts, now)
        return changed

    async def forget_cluster(self, session: AsyncSession, scene: Scene, now: datetime) -> None:
        """Say the endings of everything that was said of the cluster."""
        for record in scene.records.values():
            await self._forget_node(session, record)
        for alert in scene.alerts.values():
            await self._resolve(session, alert, now)
        if scene.record.health:
            health = ClusterHealth.model_validate_json(scene.record.health)
            await self.announcer.announce(session, ClusterForgotten, f"clusters/{scene.cluster_id}/health", health)
        if scene.record.etcd:
            etcd = EtcdMembership.model_validate_json(scene.record.etcd)
            await self.announcer.announce(session, EtcdMembershipForgotten, _etcd(scene), etcd)

    async def _node(self, session: AsyncSession, scene: Scene, finding: NodeFinding, now: datetime) -> bool:
        known = scene.records.get(finding.node.state.node_id)
        record = _record_of(scene, finding, known, now)
        changed = known is None or record.model_dump() != known.model_dump()
        if changed:
            await store.save(session, record)
        if finding.event is not None:
            await self.announcer.announce(session, finding.event, _subject(record), finding.health)
        return changed

    async def _absent(self, session: AsyncSession, scene: Scene) -> bool:
        """Forget nodes that the provisioner has no more; those of a cluster being deleted no longer count."""
        changed = False
        present = {node.state.node_id for node in scene.nodes}
        for node_id, record in scene.records.items():
            if node_id not in present:
                await self._forget_node(session, record)
                changed = True
            elif scene.deleting and record.joined:
                await store.save(session, NodeRecord(**record.model_dump() | {"joined": False}))
                changed = True
        return changed

    async def _forget_node(self, session: AsyncSession, record: NodeRecord) -> None:
        if record.health:
            health = NodeHealth.model_validate_json(record.health)
            await self.announcer.announce(session, NodeForgotten, _subject(record), health)
        await store.forget_node(session, record.node_id)

    async def _alerts(self, session: AsyncSession, scene: Scene, decision: AlertDecision, now: datetime) -> None:
        for condition in decision.raises:
            await self._raise(session, scene.cluster_id, condition, now)
        for key in decision.resolves:
            await self._resolve(session, scene.alerts[key], now)

    async def _raise(self, session: AsyncSession, cluster_id: str, condition: Condition, now: datetime) -> None:
        alert = Alert(
            alert_id=new_id(now, self.random),
            name=condition.name,
            severity=condition.severity,
            cluster_id=cluster_id,
            node_id=condition.node_id,
            message=condition.message,
            raised_at=now,
        )
        row = AlertRecord(
            cluster_id=cluster_id, key=condition.key, alert_id=alert.alert_id, document=alert.model_dump_json()
        )
        await store.save(session, row)
        await self.announcer.announce(session, AlertRaised, f"alerts/{alert.alert_id}", alert)
        self.metrics.alerts.labels(name=condition.name.value).inc()

    async def _resolve(self, session: AsyncSession, row: AlertRecord, now: datetime) -> None:
        alert = Alert.model_validate_json(row.document).model_copy(update={"resolved_at": now})
        await self.announcer.announce(session, AlertResolved, f"alerts/{row.alert_id}", alert)
        await store.forget_alert(session, row.cluster_id, row.key)


def _record_of(scene: Scene, finding: NodeFinding, known: NodeRecord | None, now: datetime) -> NodeRecord:
    node, state = finding.node, finding.node.state
    ready = finding.event is NodeReady or node.was_ready
    lasting, server = finding.lasting, scene.cloud.servers.get(state.server_id or "")
    record = NodeRecord(**known.model_dump()) if known else _new_record(state)
    record.server_id = state.server_id
    record.project_id = scene.spec.project_id if scene.spec else record.project_id
    record.zone = state.zone or state.row.zone
    record.ready_in = node.incarnation if ready else node.ready_in
    record.joined = ready and not node.leaving
    record.bad_since = lasting.since if lasting.verdict is Verdict.UNHEALTHY else None
    record.gone = state.server_state is ServerState.GONE or (server is not None and server.gone_for_sure)
    if finding.event is not None:
        record.health, record.announced_at = finding.health.model_dump_json(), now
    return record


def _new_record(state: NodeState) -> NodeRecord:
    return NodeRecord(node_id=state.node_id, cluster_id=state.cluster_id, pool_id=state.pool_id)


def _subject(record: NodeRecord) -> str:
    return f"clusters/{record.cluster_id}/nodes/{record.node_id}"


def _etcd(scene: Scene) -> str:
    return f"clusters/{scene.cluster_id}/etcd"
