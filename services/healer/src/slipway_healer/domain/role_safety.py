"""The gate "role safety" of design §6: etcd members and controllers, once started, are changed one at a time.

For etcd the predicted membership keeps its majority (quorum.py), as the members' agents tell of it.
"""

from collections.abc import Sequence

from slipway_contracts.healer import Gate, Refusal
from slipway_contracts.values import Role
from slipway_healer.domain import reasons
from slipway_healer.domain.illness import Condition, Inputs
from slipway_healer.domain.model import Node
from slipway_healer.domain.quorum import Voter, after_change, voters_of
from slipway_healer.domain.situation import Kind, Situation, Wish, is_disturbed, refusal_of


def role_safety(wish: Wish, at: Situation) -> Refusal | None:
    """Refuse what would cost the control plane or etcd's majority; workers pass."""
    if at.pool.spec.role is Role.WORKER:
        return None
    if at.pool.spec.role is Role.ETCD and _resizes(wish) and any(node.ever_joined for node in at.nodes.values()):
        return refusal_of(Gate.ROLE_SAFETY, wish, at, reasons.etcd_size_fixed(), {})
    if wish.node is None or (not wish.node.ever_joined and wish.kind is not Kind.SHRINK):
        return None
    return _stable_one_at_a_time(wish, wish.node, at) or _safe_for_role(wish, wish.node, at)


def _resizes(wish: Wish) -> bool:
    """Whether etcd would have more or fewer members than it started with."""
    if wish.node is None or wish.kind is Kind.SHRINK:
        return True
    leaves = wish.kind is Kind.DISCARD or (wish.kind is Kind.EXTEND and not wish.node.is_present)
    return leaves and wish.node.ever_joined


def _stable_one_at_a_time(wish: Wish, node: Node, at: Situation) -> Refusal | None:
    for other in [*at.nodes.values(), *at.others()]:
        # a member of etcd that never started is a voter all the same
        counts = other.is_stable and (other.ever_joined or other.role is Role.ETCD)
        if other.node_id == node.node_id or not counts:
            continue
        finding = at.findings[other.node_id]
        leaving = not other.is_present and not other.is_stale
        if leaving or is_disturbed(other, finding, at.policy, at.now):
            inputs: Inputs = {"other": other.name}
            return refusal_of(Gate.ROLE_SAFETY, wish, at, reasons.one_at_a_time(other.name), inputs)
        if wish.kind is Kind.RENEW and finding.condition is not Condition.WELL:
            inputs = {"other": other.name, "condition": finding.condition.value}
            return refusal_of(Gate.ROLE_SAFETY, wish, at, reasons.others_not_ready(other.name), inputs)
    return None


def _safe_for_role(wish: Wish, node: Node, at: Situation) -> Refusal | None:
    others = [other for other in at.present if other.node_id != node.node_id]
    if node.role is Role.CONTROLLER:
        alone = not any(other.is_ready for other in others)
        if wish.kind is Kind.SHRINK and alone:
            return refusal_of(Gate.ROLE_SAFETY, wish, at, reasons.last_controller(), {"others": len(others)})
        return None
    return _safe_for_etcd(wish, node, at)


def _safe_for_etcd(wish: Wish, node: Node, at: Situation) -> Refusal | None:
    membership = at.cluster.etcd
    for learner in membership.learners if membership is not None else ():
        if learner.node_id != node.node_id:
            reason = reasons.etcd_changing(learner.name or learner.peer_url)
            return refusal_of(Gate.ROLE_SAFETY, wish, at, reason, {"learner": learner.member_id})
    quorum = after_change(node.node_id, _voters(at))
    if quorum.holds:
        return None
    inputs: Inputs = {"voting": quorum.voting, "unhealthy": quorum.unhealthy}
    return refusal_of(Gate.ROLE_SAFETY, wish, at, reasons.quorum(quorum.voting, quorum.unhealthy), inputs)


def _voters(at: Situation) -> Sequence[Voter]:
    """As the members' agents say; as our own nodes are, where nobody said anything yet."""
    if at.cluster.etcd is not None and at.cluster.etcd.voters:
        return voters_of(at.cluster.etcd, lambda node_id: node_id in at.findings and at.findings[node_id].is_ill)
    return [
        Voter(node.node_id, at.findings[node.node_id].condition is Condition.WELL)
        for node in (*at.present, *at.others())
        if node.role is Role.ETCD and node.is_present
    ]
