"""What holds for every decision, whatever the nodes, the region and the memory are."""

import random
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_contracts.healer import Hold, Wanted
from slipway_contracts.monitor import Verdict
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.testing import a_node_spec
from slipway_contracts.values import Role
from slipway_healer.domain.healing import decide
from slipway_healer.domain.illness import Condition, diagnose, is_bad, loss_confirmed
from slipway_healer.domain.model import Action, Attempts, Decision, Memory, Node, Pool, Region
from slipway_healer.domain.record import summary_of
from slipway_healer.testing import (
    BEGIN,
    LONG_AGO,
    POLICY,
    a_cluster,
    a_node,
    a_pool,
    a_trust,
    applied,
    build_failed,
    reported,
    witnessed,
)

DESTRUCTIVE = (Action.REMOVE, Action.REPLACE, Action.REBOOT, Action.EXTEND)

verdicts = st.sampled_from(list(Verdict))
phases = st.sampled_from([NodePhase.PROVISIONED, NodePhase.CONFIGURING, NodePhase.FAILED, NodePhase.REPLACING])
servers = st.sampled_from([ServerState.ACTIVE, ServerState.ERROR, ServerState.GONE, ServerState.STOPPED,
                           ServerState.WORKING, ServerState.UNKNOWN])  # fmt: skip
agos = st.integers(0, 7200).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def nodes(draw: st.DrawFn, name: str, role: Role) -> Node:
    """A node in any state it can be in."""
    version = draw(st.sampled_from([1, 1, 1, 2]))
    node = a_node(
        name,
        role,
        spec=a_node_spec(version=version),
        minted_at=BEGIN - draw(agos) - timedelta(hours=2),
        incarnation_at=BEGIN - draw(agos) - timedelta(hours=1),
        wanted=draw(st.sampled_from([Wanted.PRESENT] * 4 + [Wanted.REMOVED])),
        drain=draw(st.booleans()),
        replaces=draw(st.sampled_from([None, None, f"{role.value}0"])) if name[-1] != "0" else None,
    )
    kind = draw(st.sampled_from(["well", "well", "well", "any", "any", "unreported", "failed"]))
    if kind == "unreported":
        return node
    if kind == "failed":
        return build_failed(node)
    if kind == "well":
        node = reported(node)
        return witnessed(node, kubernetes=Verdict.HEALTHY, etcd_peers=Verdict.HEALTHY, agent=Verdict.HEALTHY)
    joined = draw(st.booleans())
    if draw(st.booleans()):
        node = replace(node, reboots=1, rebooted_at=BEGIN - draw(agos))
    node = reported(
        node,
        phase=draw(phases),
        server_state=draw(servers),
        joined_at=LONG_AGO if joined else None,
        stale=draw(st.booleans()),
    )
    since, at = BEGIN - draw(agos), BEGIN - timedelta(seconds=draw(st.sampled_from([0, 10, 40])))
    return witnessed(
        node,
        since,
        at,
        kubernetes=draw(verdicts),
        etcd_peers=draw(verdicts),
        server=draw(verdicts),
        agent=draw(verdicts),
    )


@st.composite
def pools_of_nodes(draw: st.DrawFn, role: Role, most: int) -> list[Node]:
    """A pool's nodes."""
    return [draw(nodes(f"{role.value}{number}", role)) for number in range(draw(st.integers(0, most)))]


@st.composite
def regions(draw: st.DrawFn) -> Region:
    """Any sight of the region."""
    kind = draw(st.sampled_from(["fresh", "fresh", "fresh", "stale", "suspect", "none", "unseen"]))
    age = timedelta(seconds=31 if kind == "stale" else 5)
    trust = a_trust(BEGIN - age, trusted=kind != "suspect", unseen=["c1"] if kind == "unseen" else [])
    tokens = draw(st.integers(0, 5))
    return Region(None if kind == "none" else trust, tokens, BEGIN + timedelta(seconds=6))


memories = st.builds(
    Memory,
    attempts=st.builds(
        Attempts,
        failures=st.integers(0, 4),
        batch=st.just(LONG_AGO),
        failed_at=agos.map(lambda ago: BEGIN - ago),
    ),
    blast_since=st.one_of(st.none(), agos.map(lambda ago: BEGIN - ago)),
)
situations = st.fixed_dictionaries(
    {
        "workers": pools_of_nodes(Role.WORKER, 8),
        "etcd": pools_of_nodes(Role.ETCD, 5),
        "controllers": pools_of_nodes(Role.CONTROLLER, 3),
        "region": regions(),
        "memory": memories,
        "count": st.integers(0, 8),
        "role": st.sampled_from(list(Role)),
        "hold": st.sampled_from([Hold.NONE] * 4 + [Hold.PAUSE, Hold.RESTORE, Hold.DELETION]),
    }
)


class Case:
    """One generated situation, and what was decided in it."""

    def __init__(self, drawn: dict) -> None:  # type: ignore[type-arg]
        self.role: Role = drawn["role"]
        by_role = {Role.WORKER: drawn["workers"], Role.ETCD: drawn["etcd"], Role.CONTROLLER: drawn["controllers"]}
        self.nodes: list[Node] = by_role[self.role]
        self.others: list[Node] = [node for role, each in by_role.items() if role is not self.role for node in each]
        count = len(self.nodes) if drawn["count"] > 5 else drawn["count"]
        self.pool: Pool = a_pool(self.role, count, drawn["memory"])
        self.region: Region = drawn["region"]
        self.hold: Hold = drawn["hold"]
        self.decision = self.decide(self.pool, self.nodes, self.region)
        self.by_id = {node.node_id: node for node in self.nodes}

    def decide(self, pool: Pool, nodes: list[Node], region: Region) -> Decision:
        cluster = a_cluster(*nodes, *self.others, hold=self.hold)
        return decide(pool, nodes, cluster, region, POLICY, BEGIN)

    def __str__(self) -> str:
        lines = [
            f"{node.node_id} {node.wanted.value} {self.condition(node).value} joined={node.ever_joined} "
            f"v{node.spec.version} replaces={node.replaces} stale={node.is_stale} drain={node.drain}"
            for node in (*self.nodes, *self.others)
        ]
        return "\n".join([f"{self.role.value} x {self.pool.spec.count}, {self.hold.value}", *lines])

    def changed(self, *actions: Action) -> list[Node]:
        return [self.by_id[change.node_id] for change in self.decision.changes if change.action in actions]

    def condition(self, node: Node) -> Condition:
        return diagnose(node, self.pool.spec.health, POLICY, BEGIN).condition


def a_decision_that_was_applied_is_not_decided_again(case: Case) -> None:
    after = applied(case.decision, case.pool, case.nodes, BEGIN, random.Random(1))
    left = replace(case.region, tokens=case.region.tokens - case.decision.tokens)
    again = case.decide(Pool(case.pool.spec, case.decision.memory), after, left)
    assert again.does_nothing, f"{case}\n{summary_of(case.decision, case.nodes)}\n{summary_of(again, after)}"


def nothing_that_may_live_is_destroyed_without_a_fresh_and_trusted_sight(case: Case) -> None:
    trust = case.region.trust
    sighted = trust is not None and trust.trusted and BEGIN - trust.round_finished_at <= POLICY.region_fresh_for
    for node in case.changed(*DESTRUCTIVE):
        assert sighted or case.condition(node) is Condition.GONE
        if trust is not None and "c1" in trust.clusters_unseen and node.ever_joined:
            assert case.condition(node) is Condition.GONE


def a_hold_stops_everything(case: Case) -> None:
    if case.hold is not Hold.NONE:
        assert not case.decision.mint
        assert not case.changed(*DESTRUCTIVE)


def the_budget_of_the_blast_radius_holds(case: Case) -> None:
    if case.role is not Role.WORKER:
        return
    healed = [node for node in case.changed(Action.REBOOT, Action.REMOVE) if case.condition(node) is Condition.DEAD]
    surplus = sum(node.is_present for node in case.nodes) > case.pool.spec.count
    assert len(healed) <= 1 or surplus
    bad = [node for node in case.nodes if is_bad(node)]
    if len(bad) > max(2, 0.2 * sum(node.is_present for node in case.nodes)) and not surplus:
        assert all(loss_confirmed(node) for node in healed)


def etcd_keeps_its_majority_and_changes_one_started_member_at_a_time(case: Case) -> None:
    if case.role is not Role.ETCD:
        return
    members = [node for node in case.nodes if node.is_present]
    touched = [node for node in case.changed(*DESTRUCTIVE) if node.ever_joined and node.is_present]
    assert len(touched) <= 1, f"{case}\n{summary_of(case.decision, case.nodes)}"
    for node in touched:
        well = [each for each in members if each is not node and case.condition(each) is Condition.WELL]
        majority = len(well) >= len(members) // 2 + 1
        assert majority, f"{case}\n{summary_of(case.decision, case.nodes)}"


def the_regions_tokens_are_never_overspent(case: Case) -> None:
    assert 0 <= case.decision.tokens <= case.region.tokens


def a_pool_never_gets_more_than_one_node_above_its_target(case: Case) -> None:
    before = sum(node.is_present for node in case.nodes)
    withdrawn = len(case.changed(Action.WITHDRAW))
    after = applied(case.decision, case.pool, case.nodes, BEGIN, random.Random(1))
    assert sum(node.is_present for node in after) <= max(case.pool.spec.count + 1, before + withdrawn)


def every_refusal_says_when_it_looks_again_and_a_decision_is_looked_at_then(case: Case) -> None:
    assert all(refusal.look_again_at > BEGIN for refusal in case.decision.refusals)
    if case.decision.refusals:
        assert case.decision.look_again_at is not None
        assert case.decision.look_again_at <= min(refusal.look_again_at for refusal in case.decision.refusals)


INVARIANTS = (
    a_decision_that_was_applied_is_not_decided_again,
    nothing_that_may_live_is_destroyed_without_a_fresh_and_trusted_sight,
    a_hold_stops_everything,
    the_budget_of_the_blast_radius_holds,
    etcd_keeps_its_majority_and_changes_one_started_member_at_a_time,
    the_regions_tokens_are_never_overspent,
    a_pool_never_gets_more_than_one_node_above_its_target,
    every_refusal_says_when_it_looks_again_and_a_decision_is_looked_at_then,
)


@settings(max_examples=75, deadline=None, derandomize=True)
@given(situations.map(Case))
def test_every_decision_keeps_every_invariant(case: Case) -> None:
    for holds in INVARIANTS:
        holds(case)
