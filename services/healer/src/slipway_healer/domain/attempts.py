"""The retry cap: how many attempts in a row did not give a working node, and when the next may be made.

Nodes that were decided on at one moment are one batch, and one failure. An attempt succeeds when a node of a later
batch than the last failed one joins.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from slipway_contracts.api import PoolSpec
from slipway_healer.domain.illness import Diagnosis
from slipway_healer.domain.model import Attempts, Memory, Node, Policy


def fingerprint_of(spec: PoolSpec) -> str:
    """Changes with anything a user changes in the pool, which is her retry."""
    return _digest(spec.model_dump(mode="json"))


def rendered_of(spec: PoolSpec) -> str:
    """Changes with what only a new plan brings to the nodes that exist."""
    return _digest(spec.model_dump(mode="json", include={"labels", "taints"}))


def remember(memory: Memory, spec: PoolSpec) -> Memory:
    """A new pool spec starts the count of attempts anew."""
    fingerprint = fingerprint_of(spec)
    if memory.fingerprint == fingerprint:
        return memory
    return replace(memory, fingerprint=fingerprint, attempts=Attempts(batch=memory.attempts.batch))


def count_attempts(
    attempts: Attempts, nodes: Sequence[Node], findings: Mapping[str, Diagnosis], now: datetime
) -> Attempts:
    """Count the batches that failed since the last look, and forget them when a later one succeeded."""
    present = sorted((node for node in nodes if node.is_present), key=lambda node: (node.incarnation_at, node.node_id))
    for node in present:
        later = attempts.batch is None or node.incarnation_at > attempts.batch
        finding = findings[node.node_id]
        if later and finding.is_ill and not node.joined:
            cause = node.report.cause if node.report is not None and node.report.cause is not None else finding.reason
            attempts = Attempts(attempts.failures + 1, node.incarnation_at, now, cause)
    joined = [node for node in present if node.joined and _later(node, attempts)]
    if joined and attempts.failures:
        return Attempts(batch=attempts.batch)
    return attempts


def in_trial(attempts: Attempts, nodes: Sequence[Node]) -> bool:
    """Whether a later batch than the last failed one is still on its way."""
    return any(node.is_present and not node.joined and _later(node, attempts) for node in nodes)


def backoff_until(attempts: Attempts, policy: Policy) -> datetime | None:
    """When the next attempt may be made after a failure: the first at once, then with growing distance."""
    if attempts.failures < 2 or attempts.failed_at is None:
        return None
    doublings: int = 2 ** (attempts.failures - 2)
    return attempts.failed_at + policy.first_backoff * doublings


def _later(node: Node, attempts: Attempts) -> bool:
    return attempts.batch is not None and node.incarnation_at > attempts.batch


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
