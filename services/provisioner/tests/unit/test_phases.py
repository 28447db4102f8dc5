"""The table of a node's phases: its whole product of conditions, and the stories it must tell."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_provisioner.domain.phases import NodeFacts, is_stale, next_phase

P = NodePhase
DISTURBING = (P.DRAINING, P.REMOVING, P.REPLACING, P.REBOOTING)
QUIET = NodeFacts(port_made=True, server_made=True, server=ServerState.ACTIVE, agent_claimed=True, plan_applied=True)
SWITCHES = (
    "cluster_deleted",
    "removal_wanted",
    "in_time",
    "drain_wanted",
    "drained",
    "incarnation_wanted",
    "reboot_wanted",
    "update_wanted",
    "plan_applied",
    "joined",
)
SERVERS = (ServerState.NONE, ServerState.BUILDING, ServerState.ACTIVE, ServerState.ERROR, ServerState.GONE)


def test_the_whole_product_disturbs_nobody_out_of_time() -> None:
    for phase, server in itertools.product(NodePhase, SERVERS):
        for values in itertools.product((False, True), repeat=len(SWITCHES)):
            facts = replace(QUIET, server=server, **dict(zip(SWITCHES, values, strict=True)))
            transition = next_phase(phase, facts)
            if transition is None or transition.target not in DISTURBING or phase is P.DRAINING:
                continue
            lives = server not in (ServerState.NONE, ServerState.GONE)
            assert facts.in_time or facts.cluster_deleted or not lives, (phase, facts, transition)


any_facts = st.builds(
    NodeFacts,
    **{name: st.booleans() for name, kind in NodeFacts.__annotations__.items() if kind is bool},
    server=st.sampled_from(ServerState),
)


@given(any_facts)
def test_removing_leads_to_removed_only_and_removed_nowhere(facts: NodeFacts) -> None:
    transition = next_phase(P.REMOVING, facts)
    assert transition is None or transition.target is P.REMOVED
    assert (transition is None) == facts.things_left
    assert next_phase(P.REMOVED, facts) is None


@given(st.sampled_from(NodePhase), any_facts)
def test_every_way_ends(phase: NodePhase, facts: NodeFacts) -> None:
    """With facts that stay as they are no node goes round in circles, but for what its phase itself decides."""
    facts = replace(facts, things_left=True, reboot_wanted=False, update_wanted=False, plan_failed=False)
    seen = [phase]
    while (transition := next_phase(phase, facts)) is not None:
        phase = transition.target
        assert phase not in seen, (seen, phase, facts)
        seen.append(phase)


@given(st.sampled_from(NodePhase), any_facts)
def test_a_deleted_cluster_takes_every_node_with_it(phase: NodePhase, facts: NodeFacts) -> None:
    transition = next_phase(phase, replace(facts, cluster_deleted=True))
    if phase not in (P.REMOVING, P.REMOVED):
        assert transition is not None
        assert transition.target is P.REMOVING


STORIES = [
    ("a node without a port waits", P.PENDING, NodeFacts(), None),
    ("a port leads on to the server", P.PENDING, NodeFacts(port_made=True), P.CREATING),
    ("a server leads on to the boot", P.CREATING, NodeFacts(port_made=True, server_made=True), P.BOOTING),
    ("a server refused for good fails the node", P.CREATING, NodeFacts(port_made=True, given_up=True), P.FAILED),
    ("a claim leads on to the plan", P.BOOTING, replace(QUIET, plan_applied=False), P.CONFIGURING),
    ("an applied plan is the end", P.CONFIGURING, QUIET, P.PROVISIONED),
    ("a build in ERROR fails the node", P.BOOTING, replace(QUIET, server=ServerState.ERROR), P.FAILED),
    (
        "ERROR of a joined node is left to the healer",
        P.PROVISIONED,
        replace(QUIET, joined=True, server=ServerState.ERROR),
        None,
    ),
    (
        "a vanished server of a joined node too",
        P.PROVISIONED,
        replace(QUIET, joined=True, server=ServerState.GONE),
        None,
    ),
    ("a failed plan fails the node", P.CONFIGURING, replace(QUIET, plan_applied=False, plan_failed=True), P.FAILED),
    ("a plan that came right after all mends it", P.FAILED, QUIET, P.PROVISIONED),
    ("an applied plan of an earlier server mends nothing", P.FAILED, replace(QUIET, server_made=False), None),
    (
        "a new incarnation begins with the old server's end",
        P.PROVISIONED,
        replace(QUIET, incarnation_wanted=True),
        P.REPLACING,
    ),
    ("also of a failed node", P.FAILED, replace(QUIET, plan_applied=False, incarnation_wanted=True), P.REPLACING),
    ("the new server waits for the old one's end", P.REPLACING, replace(QUIET, incarnation_wanted=True), None),
    ("and comes after it", P.REPLACING, replace(QUIET, things_left=False), P.PENDING),
    ("a removal drains first", P.PROVISIONED, replace(QUIET, removal_wanted=True, drain_wanted=True), P.DRAINING),
    ("a drain is withdrawn", P.DRAINING, replace(QUIET, drain_wanted=True), P.PROVISIONED),
    ("a drain is over", P.DRAINING, replace(QUIET, removal_wanted=True, drain_wanted=True, drained=True), P.REMOVING),
    (
        "a drain begun in time goes on",
        P.DRAINING,
        replace(QUIET, removal_wanted=True, drained=True, in_time=False),
        P.REMOVING,
    ),
    ("a removal is not withdrawn", P.REMOVING, QUIET, None),
    (
        "a server that is gone needs no time limit",
        P.PROVISIONED,
        replace(QUIET, incarnation_wanted=True, in_time=False, server=ServerState.GONE),
        P.REPLACING,
    ),
    (
        "a newer plan is applied in place",
        P.PROVISIONED,
        replace(QUIET, update_wanted=True, plan_applied=False),
        P.CONFIGURING,
    ),
    ("a reboot begins", P.PROVISIONED, replace(QUIET, reboot_wanted=True), P.REBOOTING),
    ("a reboot ends", P.REBOOTING, replace(QUIET, reboot_done=True), P.PROVISIONED),
]


@pytest.mark.parametrize(("phase", "facts", "target"), [story[1:] for story in STORIES], ids=[s[0] for s in STORIES])
def test_story(phase: NodePhase, facts: NodeFacts, target: NodePhase | None) -> None:
    transition = next_phase(phase, facts)
    assert (transition.target if transition else None) is target


@given(st.sampled_from(NodePhase), any_facts)
def test_stale_is_what_is_wanted_too_late_and_was_not_begun(phase: NodePhase, facts: NodeFacts) -> None:
    if not is_stale(phase, facts):
        return
    assert not facts.in_time
    assert facts.removal_wanted or facts.incarnation_wanted or facts.reboot_wanted
    transition = next_phase(phase, facts)
    assert transition is None or transition.target not in DISTURBING
