"""The gates of design §6: each lets a wish pass, or refuses with its inputs and the time of the next look.

Which wish needs which gates is one table, NEEDS. The gates "two witnesses" and "long enough" are passed by the
diagnosis itself (illness.py); here "long enough" is the distance between attempts.
"""

from collections.abc import Callable, Iterable

from slipway_contracts.healer import Gate, Hold, Refusal
from slipway_contracts.values import Reason, Role
from slipway_healer.domain import reasons
from slipway_healer.domain.attempts import backoff_until, in_trial
from slipway_healer.domain.illness import Inputs, is_bad, loss_confirmed
from slipway_healer.domain.model import Awaited, Node
from slipway_healer.domain.role_safety import role_safety
from slipway_healer.domain.situation import Kind, Situation, Wish, is_disturbed, is_up, refusal_of

NEEDS: dict[Kind, tuple[Gate, ...]] = {
    Kind.MINT: (Gate.HOLD, Gate.ROLE_SAFETY, Gate.RETRY_CAP),
    Kind.FILL: (Gate.HOLD, Gate.KNOWN, Gate.ROLE_SAFETY, Gate.RETRY_CAP, Gate.TOKENS),
    Kind.RETRY: (Gate.HOLD, Gate.KNOWN, Gate.PATIENCE, Gate.ROLE_SAFETY, Gate.RETRY_CAP),
    Kind.REBOOT: (Gate.HOLD, Gate.KNOWN, Gate.BLAST_RADIUS, Gate.ROLE_SAFETY, Gate.TOKENS),
    Kind.REPLACE: (Gate.HOLD, Gate.KNOWN, Gate.BLAST_RADIUS, Gate.ROLE_SAFETY, Gate.RETRY_CAP, Gate.TOKENS),
    Kind.RENEW: (Gate.HOLD, Gate.KNOWN, Gate.BLAST_RADIUS, Gate.ROLE_SAFETY, Gate.RETRY_CAP),
    Kind.SHRINK: (Gate.HOLD, Gate.KNOWN, Gate.ROLE_SAFETY),
    Kind.DISCARD: (Gate.HOLD, Gate.ROLE_SAFETY),
    Kind.UPDATE: (Gate.HOLD,),
    Kind.EXTEND: (Gate.HOLD, Gate.KNOWN, Gate.ROLE_SAFETY),
    Kind.WITHDRAW: (),
}
"""RETRY is for nodes that never joined: they carry nothing, so no blast radius; the retry cap bounds them."""

CONCERNS_WORKING_NODES = (Kind.REBOOT, Kind.REPLACE, Kind.RENEW, Kind.SHRINK, Kind.EXTEND)
"""Wishes whose evidence is the cluster's own view, so that the last round must have covered it."""


def first_refusal(wish: Wish, at: Situation) -> Refusal | None:
    """The first gate that refuses, if any."""
    if not at.cluster.listed:
        return refusal_of(Gate.LISTED, wish, at, reasons.not_listed(), {})
    for gate in NEEDS[wish.kind]:
        refusal = _GATES[gate](wish, at)
        if refusal is not None:
            return refusal
    return None


def awaited(refusals: Iterable[Refusal]) -> Awaited | None:
    """The round of the region that could lift one of the refusals; all of a look saw the same last round."""
    return next((_AWAITED[each.reason.code] for each in refusals if each.reason.code in _AWAITED), None)


def _hold(wish: Wish, at: Situation) -> Refusal | None:
    if at.cluster.hold not in (Hold.PAUSE, Hold.RESTORE):
        return None
    hold = at.cluster.hold.value
    return refusal_of(Gate.HOLD, wish, at, reasons.held(hold), {"hold": hold})


def _known(wish: Wish, at: Situation) -> Refusal | None:
    reason, inputs = _unknown(wish, at)
    if reason is None:
        return None
    return refusal_of(Gate.KNOWN, wish, at, reason, inputs, at.now + at.policy.look_again_without_round)


def _unknown(wish: Wish, at: Situation) -> tuple[Reason | None, Inputs]:
    trust = at.region.trust
    age = None if trust is None else (at.now - trust.round_finished_at).total_seconds()
    if trust is None or age is None or age > at.policy.region_fresh_for.total_seconds():
        return reasons.region_not_observed(age), {"trusted": None}
    if not trust.trusted:
        why = "; ".join(each.message for each in trust.suspicions) or "no cause was given"
        return reasons.region_suspect(why), {"trusted": False}
    has_worked = wish.node is not None and wish.node.ever_joined
    if has_worked and wish.kind in CONCERNS_WORKING_NODES and at.cluster.cluster_id in trust.clusters_unseen:
        return reasons.cluster_not_seen(), {"trusted": True, "seen": False}
    return None, {}


def _patience(wish: Wish, at: Situation) -> Refusal | None:
    until = backoff_until(at.attempts, at.policy)
    if until is None or at.now >= until or is_quarantined(at):
        return None
    reason = reasons.backing_off(at.attempts.failures, until)
    return refusal_of(Gate.PATIENCE, wish, at, reason, {"failures": at.attempts.failures}, until)


def _blast_radius(wish: Wish, at: Situation) -> Refusal | None:
    if at.pool.spec.role is not Role.WORKER:
        return None
    bad = [node for node in at.nodes.values() if _counts_as_bad(node, at)]
    everyone = [*at.present, *(node for node in at.others() if node.is_present)]
    bad_in_cluster = len(bad) + sum(1 for node in at.others() if is_bad(node))
    pool_limit = max(at.policy.blast_nodes, at.policy.blast_of_pool * len(at.present))
    cluster_limit = at.policy.blast_of_cluster * len(everyone)
    inputs: Inputs = {"bad_in_pool": len(bad), "bad_in_cluster": bad_in_cluster}
    inputs |= {"pool_limit": pool_limit, "cluster_limit": cluster_limit}
    too_many_in_pool = len(bad) > pool_limit
    if too_many_in_pool or bad_in_cluster > cluster_limit:
        at.blast_exceeded = True
        at.blast_since = at.blast_since or at.now
        lapses_at = at.blast_since + at.policy.blast_lapses_after
        confirmed = wish.node is not None and loss_confirmed(wish.node)
        if at.now < lapses_at or not confirmed:
            reason = (
                reasons.blast_radius(len(bad), len(at.present), pool_limit, "pool")
                if too_many_in_pool
                else reasons.blast_radius(bad_in_cluster, len(everyone), cluster_limit, "cluster")
            )
            look = lapses_at if at.now < lapses_at else None
            return refusal_of(Gate.BLAST_RADIUS, wish, at, reason, inputs, look)
    return _one_at_a_time(wish, at, inputs)


def _counts_as_bad(node: Node, at: Situation) -> bool:
    # a node and its replacement count once: a replacement is not bad itself, the one it replaces is until it is up
    if is_bad(node):
        return True
    replacing = node.is_present and node.replaces is not None and not is_up(node, at.findings[node.node_id])
    return replacing and not (node.replaces in at.nodes and at.nodes[node.replaces or ""].is_present)


def _one_at_a_time(wish: Wish, at: Situation, inputs: Inputs) -> Refusal | None:
    for node in at.nodes.values():
        if node is not wish.node and is_disturbed(node, at.findings[node.node_id], at.policy, at.now):
            return refusal_of(Gate.BLAST_RADIUS, wish, at, reasons.one_at_a_time(node.name), inputs)
    return None


def is_quarantined(at: Situation) -> bool:
    """Whether so many attempts failed in a row that only a trial now and then is made."""
    return at.attempts.failures >= at.policy.failures_in_a_row


def _retry_cap(wish: Wish, at: Situation) -> Refusal | None:
    if not is_quarantined(at) or at.attempts.failed_at is None:
        return None
    failures, cause = at.attempts.failures, at.attempts.cause
    inputs: Inputs = {"failures": failures}
    if at.trial_started or in_trial(at.attempts, at.present):
        return refusal_of(Gate.RETRY_CAP, wish, at, reasons.quarantined(failures, None, cause), inputs)
    trial_at = at.attempts.failed_at + at.policy.trial_every
    if at.now < trial_at:
        return refusal_of(Gate.RETRY_CAP, wish, at, reasons.quarantined(failures, trial_at, cause), inputs, trial_at)
    return None


def _tokens(wish: Wish, at: Situation) -> Refusal | None:
    if at.tokens >= 1:
        return None
    until = at.region.next_token_at
    return refusal_of(Gate.TOKENS, wish, at, reasons.no_tokens(until), {"tokens": at.tokens}, until)


_AWAITED = {
    reasons.REGION_NOT_OBSERVED: Awaited.ANY,
    reasons.REGION_SUSPECT: Awaited.TRUSTED,
    reasons.CLUSTER_NOT_SEEN: Awaited.SEEING,
}

_GATES: dict[Gate, Callable[[Wish, Situation], Refusal | None]] = {
    Gate.HOLD: _hold,
    Gate.KNOWN: _known,
    Gate.PATIENCE: _patience,
    Gate.BLAST_RADIUS: _blast_radius,
    Gate.ROLE_SAFETY: role_safety,
    Gate.RETRY_CAP: _retry_cap,
    Gate.TOKENS: _tokens,
}
