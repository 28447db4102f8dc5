"""What a gate looks at: the wish, the pool and all around it, and what was decided so far in this look."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from slipway_contracts.healer import Gate, Refusal
from slipway_contracts.values import Reason
from slipway_healer.domain.illness import Condition, Diagnosis, Inputs
from slipway_healer.domain.model import Attempts, Cluster, Node, Policy, Pool, Region


class Kind(StrEnum):
    """What the healer would like to do."""

    MINT = "mint"
    FILL = "fill"
    RETRY = "retry"
    REBOOT = "reboot"
    REPLACE = "replace"
    RENEW = "renew"
    SHRINK = "shrink"
    DISCARD = "discard"
    UPDATE = "update"
    EXTEND = "extend"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Wish:
    """One thing to do, to a node or (mint) to the pool, and why."""

    kind: Kind
    reason: Reason
    node: Node | None = None


@dataclass
class Situation:
    """All that a gate looks at; `nodes` and `tokens` follow what was decided so far in this look."""

    pool: Pool
    nodes: dict[str, Node]
    findings: dict[str, Diagnosis]
    cluster: Cluster
    region: Region
    policy: Policy
    now: datetime
    attempts: Attempts
    tokens: int
    blast_since: datetime | None
    blast_exceeded: bool = False
    trial_started: bool = False

    @property
    def present(self) -> list[Node]:
        """The pool's wanted nodes, as decided so far."""
        return [node for node in self.nodes.values() if node.is_present]

    def others(self) -> list[Node]:
        """The nodes of the cluster's other pools."""
        return [node for node in self.cluster.nodes if node.pool_id != self.pool.spec.pool_id]


def is_disturbed(node: Node, finding: Diagnosis, policy: Policy, now: datetime) -> bool:
    """Whether the healer's own remedy is at work on a node that served before; a node and its replacement are two."""
    if not node.is_present:
        return not node.drain and not node.is_stale
    if is_rebooting(node, finding, policy, now):
        return True
    new_server = node.replaces is not None or (node.is_stable and node.ever_joined and node.incarnation > 1)
    return new_server and not is_up(node, finding)


def is_up(node: Node, finding: Diagnosis) -> bool:
    """Whether the present server once came up; what happens to it later is a new story."""
    return node.joined and finding.condition is not Condition.UNSEEN


def is_rebooting(node: Node, finding: Diagnosis, policy: Policy, now: datetime) -> bool:
    """Whether a reboot still has time to help."""
    if node.rebooted_at is None or finding.condition is Condition.WELL or node.is_stale:
        return False
    return now < node.rebooted_at + policy.reboot_wait


def refusal_of(
    gate: Gate, wish: Wish, at: Situation, reason: Reason, inputs: Inputs, look_again_at: datetime | None = None
) -> Refusal:
    """A refusal of this gate, with what was known of the node; looked at again soon unless a time is given."""
    evidence: Inputs = {"wish": wish.kind.value, **inputs}
    if wish.node is not None:
        evidence |= at.findings[wish.node.node_id].inputs
    return Refusal(
        gate=gate,
        node_id=wish.node.node_id if wish.node is not None else None,
        reason=reason,
        inputs=evidence,
        look_again_at=look_again_at or at.now + at.policy.look_again,
    )
