"""One look at a pool: the findings, what was decided and refused so far, and how a decision comes of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from slipway_contracts.healer import Refusal
from slipway_contracts.values import Reason
from slipway_healer.domain.attempts import count_attempts
from slipway_healer.domain.gates import first_refusal
from slipway_healer.domain.illness import Condition, Diagnosis, diagnose
from slipway_healer.domain.model import (
    Action,
    Change,
    Cluster,
    Decision,
    Memory,
    Mint,
    Node,
    Policy,
    Pool,
    Region,
)
from slipway_healer.domain.rows import changed, next_zone
from slipway_healer.domain.situation import Situation, Wish, is_disturbed


class Look:
    """One look at a pool: what was decided and refused so far."""

    def __init__(
        self,
        pool: Pool,
        memory: Memory,
        nodes: Sequence[Node],
        cluster: Cluster,
        region: Region,
        policy: Policy,
        now: datetime,
    ) -> None:
        self.spec, self.policy, self.now = pool.spec, policy, now
        findings = {node.node_id: diagnose(node, pool.spec.health, policy, now) for node in (*cluster.nodes, *nodes)}
        self.attempts = count_attempts(memory.attempts, nodes, findings, now)
        self.at = Situation(
            pool=pool,
            nodes={node.node_id: node for node in nodes},
            findings=findings,
            cluster=cluster,
            region=region,
            policy=policy,
            now=now,
            attempts=self.attempts,
            tokens=region.tokens,
            blast_since=memory.blast_since,
        )
        self.mint: list[Mint] = []
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []
        self.rendered = memory.rendered

    def finding(self, node: Node) -> Diagnosis:
        """What the node was found to be."""
        return self.at.findings[node.node_id]

    def passes(self, wish: Wish) -> bool:
        """Whether all gates let the wish pass; a refusal is kept."""
        refusal = first_refusal(wish, self.at)
        if refusal is None:
            return True
        self.refuse(refusal)
        return False

    def change(self, node: Node, action: Action, reason: Reason, *, drain: bool = True) -> None:
        """Change the node, and go on with it as it is then."""
        change = Change(node.node_id, action, reason, drain)
        after = changed(node, change, self.spec, self.policy, self.now)
        self.changes.append(change)
        self.at.nodes[node.node_id] = after
        self.at.findings[node.node_id] = diagnose(after, self.spec.health, self.policy, self.now)

    def make(self, reason: Reason, replaces: str | None = None) -> None:
        """Name one more node, in the zone that has the fewest."""
        used = [*(node.zone for node in self.at.present), *(mint.zone for mint in self.mint)]
        self.mint.append(Mint(next_zone(self.spec.zones, used), self.spec.node_spec, reason, replaces))
        self.at.trial_started = True

    def refuse(self, refusal: Refusal) -> None:
        """Keep a refusal; of several about one node at one gate the first is enough."""
        if all((refusal.gate, refusal.node_id) != (each.gate, each.node_id) for each in self.refusals):
            self.refusals.append(refusal)

    def is_well(self, node: Node) -> bool:
        """Whether the node does its work and nobody says otherwise."""
        return self.finding(node).condition is Condition.WELL

    def is_outdated(self, node: Node) -> bool:
        """Whether the node is of another spec than the pool's."""
        return node.spec != self.spec.node_spec

    def decision(self, memory: Memory) -> Decision:
        """All of it as one value."""
        remembered = replace(
            memory,
            attempts=self.attempts,
            blast_since=self.at.blast_since if self.at.blast_exceeded else None,
            rendered=self.rendered,
        )
        return Decision(
            mint=tuple(self.mint),
            changes=tuple(self.changes),
            refusals=tuple(self.refusals),
            memory=remembered,
            tokens=self.at.region.tokens - self.at.tokens,
            look_again_at=min(self._times(), default=None),
        )

    def _times(self) -> list[datetime]:
        times = [refusal.look_again_at for refusal in self.refusals]
        for node in self.at.nodes.values():
            finding = self.finding(node)
            if finding.look_again_at is not None and node.is_present:
                times.append(finding.look_again_at)
            if node.rebooted_at is not None and is_disturbed(node, finding, self.policy, self.now):
                times.append(node.rebooted_at + self.policy.reboot_wait)
        return [time for time in times if time > self.now]
