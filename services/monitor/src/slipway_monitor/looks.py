"""Looks into clusters' APIs: what the last one saw is kept in memory, for a while and for reckoning lease ages."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import structlog

from slipway_chassis.clock import Clock
from slipway_chassis.errors import RetryLater
from slipway_contracts.values import Reason
from slipway_monitor.domain.leases import listen
from slipway_monitor.domain.model import ClusterLook, Limits, Watched
from slipway_monitor.domain.verdict import lists_nodes
from slipway_monitor.metrics import MonitorMetrics
from slipway_monitor.ports import ClusterApi, Target

log = structlog.get_logger()


@dataclass(frozen=True)
class Looked:
    """What is known of a cluster's API now, why the newest look failed if it did, and whether there was none."""

    look: ClusterLook | None
    fresh: bool
    failure: Reason | None = None
    reused: bool = False


@dataclass
class Looks:
    """Looks at clusters, not more often than makes sense."""

    api: ClusterApi
    clock: Clock
    limits: Limits
    metrics: MonitorMetrics
    least_apart: timedelta = timedelta(milliseconds=100)
    _kept: dict[Target, ClusterLook] = field(default_factory=dict)

    def last(self, target: Target | None) -> ClusterLook | None:
        """What the last look saw, however old."""
        return self._kept.get(target) if target is not None else None

    async def look(self, target: Target, nodes: tuple[Watched, ...]) -> Looked:
        """Look now, unless somebody did a moment ago. A failure leaves the last look in place, to age."""
        before = self._kept.get(target)
        if before is not None and self.clock.now() - before.at < self.least_apart:
            return Looked(before, fresh=True, reused=True)
        try:
            look = await self._look(target, nodes, before)
        except RetryLater as failure:
            log.info("Look failed", cluster_id=target.cluster_id, cause=str(failure))
            self.metrics.looks.labels(outcome=failure.reason.code).inc()
            return Looked(before, fresh=False, failure=failure.reason)
        self.metrics.looks.labels(outcome="seen").inc()
        self._kept[target] = look
        return Looked(look, fresh=True)

    async def _look(self, target: Target, nodes: tuple[Watched, ...], before: ClusterLook | None) -> ClusterLook:
        renewals = await self.api.renewals(target)
        now = self.clock.now()
        beats = listen(before.beats if before else {}, renewals, before.at if before else None, now)
        look = ClusterLook(now, beats, before.nodes if before else {}, before.nodes_at if before else now)
        if before is not None and not lists_nodes(nodes, look, now, self.limits):
            return look
        views = await self.api.nodes(target)
        now = self.clock.now()
        return replace(look, at=now, nodes=views, nodes_at=now)

    async def forget(self, cluster_id: str) -> None:
        """Drop everything kept of a cluster."""
        for target in [each for each in self._kept if each.cluster_id == cluster_id]:
            del self._kept[target]
        await self.api.forget(cluster_id)
