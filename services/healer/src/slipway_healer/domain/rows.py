"""How decisions change nodes, how nodes are named and spread, and how they are written into node tables."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from slipway_contracts.api import ClusterSpec, PoolSpec
from slipway_contracts.envelope import Event
from slipway_contracts.healer import (
    NodeRow,
    NodeTable,
    PoolAboveTarget,
    PoolAtTarget,
    PoolBelowTarget,
    Wanted,
)
from slipway_healer.domain.model import Action, Change, Mint, Node, Policy

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
SUFFIX = 5
LONGEST_NAME = 63


class Names:
    """Gives nodes their ids and names; a name once given in a cluster is not given again."""

    def __init__(self, source: random.Random, new_id: Callable[[], str], taken: Iterable[str]) -> None:
        self.node_id = new_id
        self._random = source
        self._taken = set(taken)

    def name(self, cluster: str, pool: str) -> str:
        """`<cluster>-<pool>-<5 characters>`, a DNS label: long names are cut in front of the suffix."""
        stem = f"{cluster}-{pool}"[: LONGEST_NAME - SUFFIX - 1].rstrip("-")
        while True:
            name = f"{stem}-{''.join(self._random.choices(ALPHABET, k=SUFFIX))}"
            if name not in self._taken:
                self._taken.add(name)
                return name


def next_zone(zones: Sequence[str], used: Iterable[str | None]) -> str | None:
    """The zone with the fewest nodes, the first of equals; None where the pool names no zones."""
    if not zones:
        return None
    count = Counter(zone for zone in used if zone is not None)
    return min(zones, key=lambda zone: (count[zone], zones.index(zone)))


def minted(
    mint: Mint, pool: PoolSpec, cluster_id: str, cluster_name: str, names: Names, policy: Policy, now: datetime
) -> Node:
    """A new node."""
    return Node(
        node_id=names.node_id(),
        cluster_id=cluster_id,
        pool_id=pool.pool_id,
        name=names.name(cluster_name, pool.name),
        role=pool.role,
        zone=mint.zone,
        spec=mint.spec,
        replaces=mint.replaces,
        reason=mint.reason if mint.replaces is not None else None,
        decided_at=now,
        valid_until=now + policy.valid_for,
        minted_at=now,
        incarnation_at=now,
    )


def changed(node: Node, change: Change, pool: PoolSpec, policy: Policy, now: datetime) -> Node:
    """The node after the change; extending a decision changes nothing but its times."""
    decided = replace(node, decided_at=now, valid_until=now + policy.valid_for)
    match change.action:
        case Action.REMOVE:
            return replace(decided, wanted=Wanted.REMOVED, drain=change.drain, reason=change.reason)
        case Action.REPLACE:
            return replace(
                decided,
                incarnation=node.incarnation + 1,
                incarnation_at=now,
                spec=pool.node_spec,
                reason=change.reason,
                rebooted_at=None,
            )
        case Action.REBOOT:
            return replace(decided, reboots=node.reboots + 1, rebooted_at=now, reason=change.reason)
        case Action.UPDATE:
            return replace(node, update=node.update + 1)
        case Action.WITHDRAW:
            return replace(decided, wanted=Wanted.PRESENT, drain=True, reason=None)
        case Action.EXTEND:
            if not node.is_present:
                return decided
            return replace(decided, rebooted_at=now) if node.joined else replace(decided, incarnation_at=now)


def row_of(node: Node) -> NodeRow:
    """The node's row in the node table."""
    return NodeRow(
        node_id=node.node_id,
        name=node.name,
        pool_id=node.pool_id,
        role=node.role,
        zone=node.zone,
        spec=node.spec,
        wanted=node.wanted,
        incarnation=node.incarnation,
        reboots=node.reboots,
        update=node.update,
        replaces=node.replaces,
        drain=node.drain,
        reason=node.reason,
        decided_at=node.decided_at,
        valid_until=node.valid_until,
    )


def table_of(spec: ClusterSpec, pool: PoolSpec, nodes: Sequence[Node]) -> NodeTable:
    """The pool's complete node table, in the order of minting."""
    return NodeTable(
        cluster_id=spec.cluster_id,
        pool_id=pool.pool_id,
        cluster_generation=spec.generation,
        operation_id=spec.operation_id,
        target=pool.count,
        nodes=tuple(row_of(node) for node in sorted(nodes, key=lambda node: (node.minted_at, node.node_id))),
    )


def event_for(pool: PoolSpec, nodes: Sequence[Node]) -> type[Event[NodeTable]]:
    """What the table says in one word."""
    present = [node for node in nodes if node.is_present]
    if sum(node.is_ready for node in present) < pool.count:
        return PoolBelowTarget
    return PoolAtTarget if len(nodes) == pool.count else PoolAboveTarget
