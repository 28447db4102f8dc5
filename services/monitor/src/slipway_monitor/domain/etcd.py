"""What the members of a cluster's etcd say of each other: the membership, and who of them reaches one node's member.

Agents are heard one by one, and a member that is cut off lists what it knew before: so the membership is what most of
the fresh views with a leader say, and what was said last while they do not agree.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from slipway_contracts.agent import EtcdMemberView
from slipway_contracts.monitor import EtcdMemberHealth, EtcdMembership
from slipway_contracts.values import Role
from slipway_monitor.domain.model import EtcdLook, Limits, PeerView, Sight, Watched


@dataclass(frozen=True, order=True)
class Listed:
    """A member as it is listed, without its health."""

    member_id: str
    name: str
    peer_url: str
    learner: bool


@dataclass(frozen=True)
class Peers:
    """What the other voters' agents say of one node's member: how many they are, how many reach it or do not."""

    others: int
    reaching: int
    missing: int
    saw: str
    at: datetime | None
    """When the newest of them looked."""

    @property
    def majority(self) -> int:
        """So many of the others decide."""
        return self.others // 2 + 1


def look_at_etcd(
    cluster_id: str, nodes: Sequence[Watched], sight: Sight, said: EtcdMembership | None, limits: Limits
) -> EtcdLook:
    """The fresh views, and the membership that follows from them; None where nobody ever said anything."""
    views = tuple(_fresh(nodes, sight, limits))
    hardly_listened = sight.now - sight.listening_since <= limits.peer_view_stale
    if said is not None and hardly_listened and len(views) < len(said.voters):
        # who has just started has not heard everybody yet, which says nothing of the members
        return EtcdLook(said, views)
    listed = _agreed(views) or (_as_listed(said) if said is not None else ())
    if not listed:
        return EtcdLook(None, views)
    health = [(each.learner, _health(each, views, nodes)) for each in listed]
    membership = EtcdMembership(
        cluster_id=cluster_id,
        voters=tuple(member for learner, member in health if not learner),
        learners=tuple(member for learner, member in health if learner),
        leader_id=_leader(views),
        since=sight.now,
    )
    if said is not None and membership.model_copy(update={"since": said.since}) == said:
        membership = said
    return EtcdLook(membership, views)


def peers_of(node: Watched, look: EtcdLook) -> Peers | None:
    """What the other voters' agents say of this node's present server; None where there are no others."""
    if look.membership is None or node.state.active_at is None:
        return None
    members = (*look.membership.voters, *look.membership.learners)
    ours = {each.member_id for each in members if each.node_id == node.state.node_id}
    others = {each.member_id for each in look.membership.voters} - ours
    if not others:
        return None
    active_at = node.state.active_at
    heard = [view for view in look.views if view.etcd.member_id in others and view.at >= active_at]
    reaching, saw = 0, ""
    for view in heard:
        seen = [each for each in view.etcd.members if each.member_id in ours and not each.learner]
        if any(each.healthy for each in seen):
            reaching += 1
        else:
            saw = saw or (seen[0].saw if seen else "it has no vote")
    newest = max((view.at for view in heard), default=None)
    return Peers(len(others), reaching, len(heard) - reaching, saw, newest)


def _fresh(nodes: Sequence[Watched], sight: Sight, limits: Limits) -> Iterator[PeerView]:
    for node in nodes:
        view, active_at = sight.agents.get(node.state.node_id), node.state.active_at
        if node.role is not Role.ETCD or view is None or active_at is None or view.observation.etcd is None:
            continue
        if view.received_at >= active_at and sight.now - view.received_at <= limits.peer_view_stale:
            yield PeerView(node.state.node_id, view.received_at, view.observation.etcd)


def _agreed(views: Sequence[PeerView]) -> tuple[Listed, ...]:
    """The list that most of them have; those without a leader count only where nobody has one."""
    voices = [view for view in views if view.etcd.leader_id is not None] or views
    lists = Counter(tuple(sorted(map(_listed, view.etcd.members))) for view in voices)
    return next((each for each, count in lists.items() if 2 * count > len(voices)), ())


def _leader(views: Sequence[PeerView]) -> str | None:
    voices = [view.etcd.leader_id for view in views if view.etcd.leader_id is not None]
    return next((each for each, count in Counter(voices).items() if 2 * count > len(voices)), None)


def _listed(member: EtcdMemberView) -> Listed:
    return Listed(member.member_id, member.name, member.peer_url, member.learner)


def _as_listed(said: EtcdMembership) -> tuple[Listed, ...]:
    members = [(each, False) for each in said.voters] + [(each, True) for each in said.learners]
    return tuple(sorted(Listed(each.member_id, each.name, each.peer_url, learner) for each, learner in members))


def _health(member: Listed, views: Sequence[PeerView], nodes: Sequence[Watched]) -> EtcdMemberHealth:
    looks = [
        seen.healthy
        for view in views
        for seen in view.etcd.members
        if seen.member_id == member.member_id and view.etcd.member_id != member.member_id
    ]
    own = [view for view in views if view.etcd.member_id == member.member_id]
    says = [seen.healthy for view in own for seen in view.etcd.members if seen.member_id == member.member_id]
    healthy = 2 * sum(looks) > len(looks) if looks else any(says)
    return EtcdMemberHealth(
        member_id=member.member_id,
        name=member.name,
        peer_url=member.peer_url,
        node_id=_node_of(member, own, nodes),
        healthy=healthy,
        seen_unhealthy_by=len(looks) - sum(looks),
        seen_by=len(looks),
    )


def _node_of(member: Listed, own: Sequence[PeerView], nodes: Sequence[Watched]) -> str | None:
    """Whose member it is: as the node's own agent says, else by its address, else by its name."""
    if own:
        return own[0].node_id
    members = [node for node in nodes if node.role is Role.ETCD]
    address = urlsplit(member.peer_url).hostname
    for node in members:
        if address in node.state.addresses:
            return node.state.node_id
    for node in members:
        if re.fullmatch(rf"{re.escape(node.state.row.name)}(-\d+)?", member.name):
            return node.state.node_id
    return None
