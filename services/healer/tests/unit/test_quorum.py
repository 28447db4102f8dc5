"""Etcd keeps its majority while members are lost and replaced, whatever happens between any two steps.

A model of etcd, of the machines and of what the provisioner and the agents do, step by step, around the real decision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_contracts.api import NodeSpec
from slipway_contracts.monitor import EtcdMembership, Verdict
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.testing import a_node_spec
from slipway_contracts.values import Role
from slipway_healer.domain.healing import decide
from slipway_healer.domain.model import Action, Node
from slipway_healer.domain.quorum import Quorum, Voter, after_change
from slipway_healer.testing import (
    BEGIN,
    LONG_AGO,
    POLICY,
    a_cluster,
    a_member,
    a_membership,
    a_node,
    a_pool,
    a_region,
    applied,
    reported,
    witnessed,
)

ALIVE, HUNG, GONE = "alive", "hung", "gone"


@pytest.mark.parametrize(
    ("voting", "unhealthy", "holds"),
    [(1, 0, True), (1, 1, False), (2, 1, False), (3, 1, True), (3, 2, False), (4, 1, True), (4, 2, False),
     (5, 2, True), (5, 3, False), (7, 3, True)],
)  # fmt: skip
def test_a_majority_of_all_that_vote_is_well(voting: int, unhealthy: int, holds: bool) -> None:
    assert Quorum(voting, unhealthy).holds is holds


def test_the_end_of_a_change_asks_for_the_most() -> None:
    for count in range(1, 8):
        for ill in range(count):
            voters = [Voter("n", healthy=False), *(Voter(str(n), healthy=n >= ill) for n in range(count - 1))]
            without = Quorum(count - 1, min(ill, count - 1))
            assert without.holds or not after_change("n", voters).holds


@dataclass
class Member:
    """One member of etcd: the server of a node's incarnation."""

    number: int
    node_id: str
    incarnation: int
    learner: bool = False


class Model:
    """Etcd, its machines, and what the provisioner and the helping agent do; one step at a time."""

    def __init__(self, count: int) -> None:
        self.spec = a_node_spec(version=1)
        self.nodes = [a_node(f"e{n}", Role.ETCD, ever_joined=True) for n in range(count)]
        self.servers: dict[str, tuple[int, str]] = {node.node_id: (1, ALIVE) for node in self.nodes}
        self.members = [Member(n, node.node_id, 1) for n, node in enumerate(self.nodes)]
        self.provisioned = {node.node_id: 1 for node in self.nodes}
        self.made = count
        self.now = BEGIN
        self.fact: EtcdMembership | None = self.membership()
        self.agents_check = False

    # -- what is so

    def is_alive(self, member: Member) -> bool:
        return self.servers.get(member.node_id) == (member.incarnation, ALIVE)

    def voters(self) -> list[Member]:
        return [member for member in self.members if not member.learner]

    def holds(self) -> bool:
        voters = self.voters()
        return Quorum(len(voters), sum(not self.is_alive(each) for each in voters)).holds

    def membership(self) -> EtcdMembership:
        said = {m.number: a_member(m.number, m.node_id, healthy=self.is_alive(m)) for m in self.members}
        return a_membership(
            *(said[m.number] for m in self.voters()), learners=[said[m.number] for m in self.members if m.learner]
        )

    def changing(self) -> list[Node]:
        return [node for node in self.nodes if self.provisioned[node.node_id] < node.incarnation]

    # -- what happens to machines

    def fault(self, number: int, state: str) -> None:
        node_id = self.nodes[number % len(self.nodes)].node_id
        server = self.servers.get(node_id)
        if server is not None and server[1] != GONE:
            self.servers[node_id] = (server[0], state)

    # -- what the healer sees and decides

    def seen(self, node: Node) -> Node:
        server = self.servers.get(node.node_id)
        joined = self.provisioned[node.node_id] >= node.incarnation
        phase = NodePhase.PROVISIONED if joined else NodePhase.CONFIGURING
        if server is None:
            return reported(node, phase=NodePhase.CREATING, server_state=ServerState.NONE, joined_at=None)
        state = {ALIVE: ServerState.ACTIVE, HUNG: ServerState.ERROR, GONE: ServerState.GONE}[server[1]]
        node = reported(node, phase=phase, server_state=state, joined_at=LONG_AGO if joined else None)
        verdict = Verdict.HEALTHY if server[1] == ALIVE else Verdict.UNHEALTHY
        return witnessed(node, at=self.now, etcd_peers=verdict, agent=verdict, server=verdict)

    def look(self) -> None:
        nodes = [self.seen(node) for node in self.nodes]
        pool = a_pool(Role.ETCD, len(nodes), node_spec=self.spec)
        decision = decide(pool, nodes, a_cluster(*nodes, etcd=self.fact), a_region(at=self.now), POLICY, self.now)
        assert not decision.mint
        assert {change.action for change in decision.changes} <= {Action.REPLACE}
        for change in decision.changes:
            others = [each for each in self.voters() if each.node_id != change.node_id]
            left = Quorum(len(others) + 1, 1 + sum(not self.is_alive(each) for each in others))
            assert left.holds, f"{change.node_id} is destroyed, and no majority is left"
            self.servers.pop(change.node_id)
        self.nodes = applied(decision, pool, self.nodes, self.now, Random(1))

    # -- what the provisioner and the agent of a healthy member do

    def work(self) -> None:
        for node in self.changing():
            self._step(node)

    def _step(self, node: Node) -> None:
        if not self.holds():
            return
        for member in [each for each in self.members if each.node_id == node.node_id]:
            if member.incarnation < node.incarnation:
                if member.learner or not self.agents_check or self._may_go(member):
                    self.members.remove(member)
                return
        mine = next((each for each in self.members if each.node_id == node.node_id), None)
        if mine is None:
            self.members.append(Member(self.made, node.node_id, node.incarnation, learner=True))
            self.made += 1
        elif node.node_id not in self.servers:
            self.servers[node.node_id] = (node.incarnation, ALIVE)
        elif self.is_alive(mine):
            mine.learner = False
            self.provisioned[node.node_id] = node.incarnation

    def _may_go(self, member: Member) -> bool:
        others = [Voter(each.node_id, self.is_alive(each)) for each in self.voters() if each is not member]
        return after_change(member.node_id, others).holds

    def lose_the_learner(self) -> None:
        """The id of a learner that never started is lost with whoever knew it: the first phase runs again."""
        self.members = [each for each in self.members if not each.learner or each.node_id in self.servers]


Rule = Callable[[Model, int], None]


def _new_fact(model: Model, _number: int) -> None:
    model.fact = model.membership()


def _respec(model: Model, _number: int) -> None:
    model.spec = NodeSpec(**model.spec.model_dump() | {"version": 2})


RULES: dict[str, Rule] = {
    "vanish": lambda model, number: model.fault(number, GONE),
    "hang": lambda model, number: model.fault(number, HUNG),
    "recover": lambda model, number: model.fault(number, ALIVE),
    "fact": _new_fact,
    "look": lambda model, _number: model.look(),
    "work": lambda model, _number: model.work(),
    "forget": lambda model, _number: model.lose_the_learner(),
    "respec": _respec,
}
FAULTS = ("vanish", "hang", "recover")
OFTEN = ["look", "work", "work", "fact", *RULES]

stories = st.lists(st.tuples(st.sampled_from(OFTEN), st.integers(0, 6)), max_size=40)
quick = settings(max_examples=20, deadline=None, derandomize=True)


def play(model: Model, story: list[tuple[str, int]], facts: str) -> None:
    model.agents_check = facts == "stale"
    for name, number in story:
        if facts == "none":
            model.fact = None
        elif facts == "fresh":
            model.fact = model.membership()
        held = model.holds()
        RULES[name](model, number)
        assert len(model.changing()) <= 1
        assert name in FAULTS or not held or model.holds(), f"the majority was lost at {name}"


@pytest.mark.parametrize("facts", ["fresh", "stale", "none"])
@pytest.mark.parametrize("count", [1, 3, 5])
@quick
@given(story=stories)
def test_no_step_of_ours_ever_costs_the_majority(count: int, facts: str, story: list[tuple[str, int]]) -> None:
    model = Model(count)
    play(model, story, facts)


@pytest.mark.parametrize("facts", ["fresh", "none"])
@pytest.mark.parametrize("count", [3, 5])
@quick
@given(story=stories)
def test_once_faults_stop_a_living_majority_heals_to_full_strength(
    count: int, facts: str, story: list[tuple[str, int]]
) -> None:
    model = Model(count)
    play(model, story, facts)
    if not model.holds():
        return
    play(model, [("fact", 0), ("look", 0), *[("work", 0)] * 5] * (3 * count), facts)
    assert not model.changing()
    assert sorted(each.node_id for each in model.voters() if model.is_alive(each)) == sorted(model.servers)
    assert len(model.members) == count


@pytest.mark.parametrize("count", [3, 5])
def test_without_a_majority_nothing_is_touched(count: int) -> None:
    model = Model(count)
    for number in range(count // 2 + 1):
        model.fault(number, HUNG)
    model.fact = model.membership()
    before = (list(model.nodes), dict(model.servers))
    model.look()
    assert (model.nodes, model.servers) == before


def test_two_of_five_lost_at_once_are_replaced_one_after_the_other() -> None:
    model = Model(5)
    model.fault(1, GONE)
    model.fault(3, HUNG)
    order = []
    for _ in range(12):
        model.fact = model.membership()
        model.look()
        model.work()
        order += [node.node_id for node in model.changing() if node.node_id not in order]
    assert order == ["e1", "e3"]
    assert all(model.is_alive(each) for each in model.voters())
    assert len(model.voters()) == 5
