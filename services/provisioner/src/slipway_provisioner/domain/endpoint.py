"""Who is behind a cluster's endpoint, and how a controller leaves it without a request being lost. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.domain.model import Member, MemberView

DRAINING_WEIGHT = 0

_RUNNING = (ServerState.ACTIVE.value, ServerState.WORKING.value, ServerState.UNKNOWN.value)
"""States of a server that may still be answering requests."""


class NodeLike(Protocol):
    """Our record of a node."""

    node_id: str
    role: str
    phase: str
    since: datetime
    addresses: list[str]
    joined_at: datetime | None
    server_state: str


@dataclass(frozen=True)
class Rules:
    """What else decides who is behind an endpoint."""

    port: int
    """Of the API servers; the endpoint's own may be another one."""
    established: bool
    """The cluster's API was available once."""
    drain_limit: timedelta


def decide_members(
    nodes: Sequence[NodeLike], seen: Sequence[MemberView], rules: Rules, now: datetime
) -> tuple[Member, ...]:
    """The members by node id: those that serve, and with weight 0 those that leave while they finish what they began.

    Nobody is waited for who answers nothing: whose server is gone or stopped, whose health check fails. Nor does
    the last one drain: there is nobody to take its requests over.
    """
    serving = [_member(node, rules) for node in nodes if belongs_behind(node, established=rules.established)]
    failing = {view.member.node_id for view in seen if view.failing}
    known = {view.member.node_id for view in seen}
    leaving = [
        _member(node, rules, DRAINING_WEIGHT)
        for node in nodes
        if node.node_id in known - failing and serving and _drains(node, rules, now)
    ]
    return tuple(sorted((*serving, *leaving), key=lambda member: member.node_id))


def belongs_behind(node: NodeLike, *, established: bool) -> bool:
    """Whether requests may go to this node: a controller whose API server is up, or comes up for the first time.

    While the cluster is being created the health monitor alone keeps requests from who is not ready; later a new
    server joins only when its plan is applied, which ends with its own /readyz.
    """
    if node.role != Role.CONTROLLER.value or not node.addresses:
        return False
    if node.phase in (NodePhase.PROVISIONED.value, NodePhase.REBOOTING.value):
        return True
    coming = (NodePhase.CREATING.value, NodePhase.BOOTING.value, NodePhase.CONFIGURING.value)
    return node.phase in coming and (not established or node.joined_at is not None)


def same_members(seen: Sequence[MemberView], wanted: Sequence[Member]) -> bool:
    """Whether the endpoint has exactly the members that it should have."""
    return {view.member for view in seen} == set(wanted) and len(seen) == len(wanted)


def _drains(node: NodeLike, rules: Rules, now: datetime) -> bool:
    on_its_way = node.phase in (NodePhase.REPLACING.value, NodePhase.REMOVING.value)
    return (
        node.role == Role.CONTROLLER.value
        and rules.established
        and on_its_way
        and bool(node.addresses)
        and node.server_state in _RUNNING
        and now < node.since + rules.drain_limit
    )


def _member(node: NodeLike, rules: Rules, weight: int = 1) -> Member:
    return Member(node.node_id, node.addresses[0], rules.port, weight)
