"""Whether what is seen of a region may be acted upon: the breaker that keeps healing from making an outage worse.

Suspect: the cloud's API fails; more than max(3, 20 %) of the region's joined nodes, or a whole zone of at least four,
went bad within five minutes (nodes that are positively gone do not count); or our own probes cannot reach what the
agents can. Mass loss keeps the region suspect until 30 minutes after the last new loss.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from slipway_contracts.monitor import RegionTrust
from slipway_contracts.values import Mover, Reason


@dataclass(frozen=True)
class TrustLimits:
    """How much loss at once is more than machines do by themselves."""

    within: timedelta = timedelta(minutes=5)
    nodes: int = 3
    share: float = 0.2
    zone_nodes: int = 4
    lasts: timedelta = timedelta(minutes=30)
    look_stale: timedelta = timedelta(seconds=25)
    blind_clusters: int = 2


@dataclass(frozen=True)
class Loss:
    """One node that was healthy before and is not: since when. Nodes that are positively gone are no losses."""

    node_id: str
    zone: str | None
    bad_since: datetime


@dataclass(frozen=True)
class ClusterSight:
    """One cluster whose API should answer: when it last did, and whether its own controllers say that it is well."""

    cluster_id: str
    seen_at: datetime | None
    well_from_inside: bool


@dataclass(frozen=True)
class LossMemory:
    """The mass loss under way, if any."""

    suspect_since: datetime | None = None
    last_loss_at: datetime | None = None
    message: str = ""


@dataclass(frozen=True)
class RegionSight:
    """What one round saw."""

    region: str
    now: datetime
    cloud_failure: Reason | None
    joined: Mapping[str | None, int]
    """By zone: nodes that were healthy at least once and are not positively gone, the losses among them."""
    losses: Sequence[Loss]
    clusters: Sequence[ClusterSight]


def judge_region(sight: RegionSight, memory: LossMemory, limits: TrustLimits) -> tuple[RegionTrust, LossMemory]:
    """What the round says of the region, and what to remember for the next one."""
    memory = _remember(sight, memory, limits)
    unseen = [each for each in sight.clusters if _unseen(each, sight.now, limits)]
    suspicions = [
        *([sight.cloud_failure] if sight.cloud_failure else []),
        *_mass_loss(memory, limits),
        *_blindness(sight, unseen, limits),
    ]
    trust = RegionTrust(
        region=sight.region,
        round_finished_at=sight.now,
        trusted=not suspicions,
        suspicions=tuple(suspicions),
        clusters_unseen=tuple(sorted(each.cluster_id for each in unseen)),
    )
    return trust, memory


def _remember(sight: RegionSight, memory: LossMemory, limits: TrustLimits) -> LossMemory:
    recent = [each for each in sight.losses if sight.now - each.bad_since <= limits.within]
    newest = max((each.bad_since for each in recent), default=None)
    found = _too_many(sight.joined, recent, limits)
    if found is not None:
        memory = LossMemory(memory.suspect_since or sight.now, newest, found)
    elif memory.last_loss_at is not None and newest is not None:
        memory = replace(memory, last_loss_at=max(newest, memory.last_loss_at))
    if memory.last_loss_at is not None and sight.now - memory.last_loss_at >= limits.lasts:
        return LossMemory()
    return memory


def _too_many(joined: Mapping[str | None, int], recent: Sequence[Loss], limits: TrustLimits) -> str | None:
    total = sum(joined.values())
    if len(recent) > max(limits.nodes, limits.share * total):
        return f"{len(recent)} of the region's {total} nodes went bad within five minutes"
    lost = Counter(each.zone for each in recent)
    for zone in sorted(each for each in joined if each is not None):
        if joined[zone] >= limits.zone_nodes and lost[zone] >= joined[zone]:
            return f"All {joined[zone]} nodes of zone {zone} went bad within five minutes"
    return None


def _mass_loss(memory: LossMemory, limits: TrustLimits) -> list[Reason]:
    if memory.suspect_since is None or memory.last_loss_at is None:
        return []
    until = memory.last_loss_at + limits.lasts
    return [_reason("MassLoss", memory.message, retry_at=until)]


def _blindness(sight: RegionSight, unseen: Sequence[ClusterSight], limits: TrustLimits) -> list[Reason]:
    blind = [each for each in unseen if each.well_from_inside]
    if len(blind) < limits.blind_clusters or len(blind) <= limits.share * len(sight.clusters):
        return []
    message = f"{len(blind)} clusters do not answer our probes while their own controllers say that they are well"
    return [_reason("ProbesBlind", message)]


def _unseen(cluster: ClusterSight, now: datetime, limits: TrustLimits) -> bool:
    return cluster.seen_at is None or now - cluster.seen_at > limits.look_stale


def _reason(code: str, message: str, retry_at: datetime | None = None) -> Reason:
    return Reason(code=code, message=message, whose_move=Mover.OPERATOR, retry_at=retry_at)
