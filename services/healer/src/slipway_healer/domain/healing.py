"""Which nodes should exist, change, be rebooted or go; and when it is safer to do nothing (design §6).

`decide` is pure. It looks at a pool in one order: decisions that went stale, too many, ill, missing, of an old spec,
of old labels. Each thing it would like to do is a wish that passes the gates (gates.py) or leaves a refusal.
"""

from collections.abc import Sequence
from datetime import datetime

from slipway_contracts.healer import Hold, Refusal
from slipway_contracts.provisioner import ServerState
from slipway_contracts.values import Reason
from slipway_healer.domain import reasons
from slipway_healer.domain.attempts import remember, rendered_of
from slipway_healer.domain.illness import Condition, Diagnosis
from slipway_healer.domain.look import Look
from slipway_healer.domain.model import Action, Cluster, Decision, Memory, Node, Policy, Pool, Region
from slipway_healer.domain.situation import Kind, Wish, is_rebooting


def decide(
    pool: Pool, nodes: Sequence[Node], cluster: Cluster, region: Region, policy: Policy, now: datetime
) -> Decision:
    """Decide what is to be done with a pool.

    `nodes` are the pool's, `cluster.nodes` those of all its pools. Applying the decision and deciding again at the
    same time gives a decision that does nothing.
    """
    memory = remember(pool.memory, pool.spec)
    if cluster.hold is Hold.DELETION:
        return Decision(memory=memory)
    look = Look(pool, memory, nodes, cluster, region, policy, now)
    _reconsider_stale(look)
    _shrink(look)
    _heal(look)
    _fill(look)
    _renew(look)
    _update(look, memory)
    return look.decision(memory)


def _reconsider_stale(look: Look) -> None:
    """Confirm what the provisioner did not start in time, or take it back."""
    for node in [node for node in look.at.nodes.values() if node.is_stale]:
        if node.is_present:
            _reconsider_change(look, node)
        elif node.drain:
            _reconsider_shrinking(look, node)
        else:
            _reconsider_removal(look, node)


def _reconsider_change(look: Look, node: Node) -> None:
    rebooted = node.joined
    if rebooted and look.is_well(node):
        return
    if look.passes(Wish(Kind.EXTEND, node.reason or reasons.gone(), node)):
        look.change(node, Action.EXTEND, node.reason or reasons.gone())


def _reconsider_shrinking(look: Look, node: Node) -> None:
    reason = node.reason or reasons.surplus(look.spec.count)
    if len(look.at.present) < look.spec.count:
        if look.passes(Wish(Kind.WITHDRAW, reason, node)):
            look.change(node, Action.WITHDRAW, reason)
    elif look.passes(Wish(Kind.EXTEND, reason, node)):
        look.change(node, Action.EXTEND, reason)


def _reconsider_removal(look: Look, node: Node) -> None:
    reason = node.reason or reasons.gone()
    if look.is_well(node):
        if look.passes(Wish(Kind.WITHDRAW, reason, node)):
            look.change(node, Action.WITHDRAW, reason)
    elif look.finding(node).is_ill and look.passes(Wish(Kind.EXTEND, reason, node)):
        look.change(node, Action.EXTEND, reason)


def _shrink(look: Look) -> None:
    """Let the surplus go; a new node that takes over from a working one of an old spec is none until it is up."""
    refused: set[str] = set()
    while len(look.at.present) - look.spec.count - len(_unfinished_surges(look)) > len(refused):
        node = next(node for node in _victims(look) if node.node_id not in refused)
        gone = look.finding(node).condition is Condition.GONE
        kind = Kind.DISCARD if gone else Kind.SHRINK
        if look.passes(Wish(kind, reasons.surplus(look.spec.count), node)):
            drain = not look.finding(node).is_ill
            look.change(node, Action.REMOVE, reasons.surplus(look.spec.count), drain=drain)
        else:
            refused.add(node.node_id)


def _victims(look: Look) -> list[Node]:
    named = list(look.spec.victims)

    def order(node: Node) -> tuple[int, bool, int, float, str]:
        wanted_gone = named.index(node.node_id) if node.node_id in named else len(named)
        version = node.spec.version if look.is_outdated(node) else 1 << 31
        return wanted_gone, node.is_ready, version, -node.minted_at.timestamp(), node.node_id

    return sorted(look.at.present, key=order)


def _unfinished_surges(look: Look) -> list[Node]:
    return [
        node
        for node in look.at.present
        if node.replaces in look.at.nodes
        and look.at.nodes[node.replaces or ""].is_present
        and look.is_outdated(look.at.nodes[node.replaces or ""])
        and not node.is_ready
    ]


def _heal(look: Look) -> None:
    """Find a remedy for each ill node, and say why there is none for a doubtful one."""
    for node in sorted(look.at.present, key=lambda node: (node.minted_at, node.node_id)):
        finding = look.finding(node)
        if finding.condition is Condition.DOUBTFUL:
            _doubt(look, node, finding)
        elif finding.is_ill and finding.reason is not None:
            _remedy(look, node, finding.condition, finding.reason)


def _doubt(look: Look, node: Node, finding: Diagnosis) -> None:
    if finding.gate is None or finding.reason is None or is_rebooting(node, finding, look.policy, look.now):
        return
    look.refuse(
        Refusal(
            gate=finding.gate,
            node_id=node.node_id,
            reason=finding.reason,
            inputs=finding.inputs,
            look_again_at=finding.look_again_at or look.now + look.policy.look_again,
        )
    )


def _remedy(look: Look, node: Node, condition: Condition, reason: Reason) -> None:
    if condition is Condition.DEAD:
        if is_rebooting(node, look.finding(node), look.policy, look.now):
            return
        if _may_reboot(look, node):
            if look.passes(Wish(Kind.REBOOT, reason, node)):
                look.at.tokens -= 1
                look.change(node, Action.REBOOT, reason)
            return
    kinds = {Condition.GONE: Kind.FILL, Condition.DEAD: Kind.REPLACE}
    kind = kinds.get(condition, Kind.RETRY)
    if look.passes(Wish(kind, reason, node)):
        look.at.tokens -= kind in (Kind.FILL, Kind.REPLACE)
        _replace(look, node, reason)


def _may_reboot(look: Look, node: Node) -> bool:
    # the hypervisor has lost a server that is in ERROR: a reboot would only cost time
    in_error = node.accepted is not None and node.accepted.server_state is ServerState.ERROR
    recently = node.rebooted_at is not None and look.now < node.rebooted_at + look.policy.reboot_memory
    return not in_error and not recently


def _replace(look: Look, node: Node, reason: Reason) -> None:
    look.at.trial_started = True
    if node.is_stable:
        look.change(node, Action.REPLACE, reason)
        return
    surging_for = node.replaces if node in _unfinished_surges(look) else None
    look.change(node, Action.REMOVE, reason, drain=False)
    look.make(reason, surging_for or node.node_id)


def _fill(look: Look) -> None:
    """Name the nodes that are missing."""
    renewals = sum(1 for mint in look.mint if mint.replaces in _surged(look))
    have = len(look.at.present) + len(look.mint) - renewals - len(_unfinished_surges(look))
    for _ in range(look.spec.count - have):
        if not look.passes(Wish(Kind.MINT, reasons.missing(look.spec.count))):
            return
        look.make(reasons.missing(look.spec.count))


def _surged(look: Look) -> set[str]:
    return {node.node_id for node in look.at.present if look.is_outdated(node)}


def _renew(look: Look) -> None:
    """Replace one working node of an old spec: a worker by surge, a stable node in its place."""
    if any(mint.replaces is not None for mint in look.mint) or _unfinished_surges(look):
        return
    if len(look.at.present) != look.spec.count or len(look.at.nodes) > len(look.at.present):
        return
    old = [node for node in _victims(look) if node.node_id in _surged(look) and look.is_well(node)]
    if not old:
        return
    node, reason = old[0], reasons.old_spec(look.spec.node_spec.version)
    if not look.passes(Wish(Kind.RENEW, reason, node)):
        return
    if node.is_stable:
        look.change(node, Action.REPLACE, reason)
    else:
        look.make(reason, node.node_id)


def _update(look: Look, memory: Memory) -> None:
    """Ask for a new plan of every node when labels or taints changed."""
    rendered = rendered_of(look.spec)
    if memory.rendered in ("", rendered):
        look.rendered = rendered
        return
    for node in look.at.present:
        if not look.passes(Wish(Kind.UPDATE, reasons.labels_changed(), node)):
            return
        look.change(node, Action.UPDATE, reasons.labels_changed())
    look.rendered = rendered
