"""Decisions as they are kept and said: what differs from the last one, with the inputs, in words."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from slipway_contracts.healer import Refusal
from slipway_healer.domain.model import Cluster, Decision, Node, Pool, Region

REPEAT_AFTER = timedelta(seconds=60)
"""A refusal that stays the same is said again with its next look only so long after the last one's."""


def digest_of(refusals: Sequence[Refusal]) -> str:
    """The same for refusals that say the same; empty when nothing is refused."""
    if not refusals:
        return ""
    return hashlib.sha256(json.dumps(sorted(map(str, map(_key, refusals)))).encode()).hexdigest()


def steady(said: Sequence[Refusal], current: Sequence[Refusal], now: datetime) -> tuple[Refusal, ...]:
    """The refusals as they are to be said: one that is essentially the same keeps its words for a while."""
    known = {_key(refusal): refusal for refusal in said}
    result = []
    for refusal in current:
        before = known.get(_key(refusal))
        keep = before is not None and now < before.look_again_at + REPEAT_AFTER
        result.append(before if before is not None and keep else refusal)
    return tuple(result)


def inputs_of(pool: Pool, nodes: Sequence[Node], cluster: Cluster, region: Region) -> dict[str, Any]:
    """What a decision was made of, short enough to keep."""
    trust = region.trust
    return {
        "target": pool.spec.count,
        "spec": pool.spec.node_spec.model_dump(mode="json"),
        "hold": cluster.hold.value,
        "listed": cluster.listed,
        "failures": pool.memory.attempts.failures,
        "tokens": region.tokens,
        "region": None if trust is None else trust.model_dump(mode="json", exclude={"region"}),
        "etcd": None if cluster.etcd is None else cluster.etcd.model_dump(mode="json", exclude={"cluster_id"}),
        "nodes": [_node(node) for node in nodes],
    }


def outcome_of(decision: Decision) -> dict[str, Any]:
    """What a decision does and refuses."""
    return {
        "mint": [{"zone": m.zone, "replaces": m.replaces, "reason": m.reason.code} for m in decision.mint],
        "changes": [
            {"node_id": c.node_id, "action": c.action.value, "reason": c.reason.code} for c in decision.changes
        ],
        "refusals": [refusal.model_dump(mode="json") for refusal in decision.refusals],
    }


def summary_of(decision: Decision, nodes: Sequence[Node]) -> str:
    """The decision in one sentence."""
    names = {node.node_id: node.name for node in nodes}
    parts = [f"{c.action.value} {names.get(c.node_id, c.node_id)} ({c.reason.code})" for c in decision.changes]
    parts += [_mints(decision)] if decision.mint else []
    parts += [
        f"refuse {names.get(r.node_id or '', 'the pool')} at {r.gate.value} ({r.reason.code})"
        for r in decision.refusals
    ]
    return "; ".join(parts) or "nothing to do"


def _mints(decision: Decision) -> str:
    counted = Counter(mint.reason.code for mint in decision.mint)
    return ", ".join(f"make {count} ({code})" for code, count in counted.items())


def _node(node: Node) -> dict[str, Any]:
    report, health = node.report, node.observed
    witnesses = {} if health is None else {each.name.value: each.verdict.value for each in health.witnesses}
    return {
        "node_id": node.node_id,
        "name": node.name,
        "wanted": node.wanted.value,
        "incarnation": node.incarnation,
        "reboots": node.reboots,
        "phase": report.phase.value if report is not None else None,
        "server": report.server_state.value if report is not None else None,
        "joined": node.joined,
        "witnesses": witnesses,
    }


def _key(refusal: Refusal) -> tuple[str, str | None, str]:
    return refusal.gate.value, refusal.node_id, refusal.reason.code
