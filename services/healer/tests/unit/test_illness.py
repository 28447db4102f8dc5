"""What a node is found to be: two witnesses, long enough, unknown is not unhealthy."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_contracts.api import HealthPolicy
from slipway_contracts.healer import Gate
from slipway_contracts.monitor import Verdict
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Mover, Reason, Role
from slipway_healer.domain.illness import Condition, diagnose, is_bad, loss_confirmed
from slipway_healer.domain.model import Node
from slipway_healer.testing import (
    BEGIN,
    POLICY,
    a_node,
    a_well_node,
    build_failed,
    dead,
    gone,
    reported,
    witnessed,
)

HEALTH = HealthPolicy()
WELL, BAD, UNKNOWN = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN
MINUTE = timedelta(minutes=1)
FOR_OTHERS = Reason(code="WaitingForNodes", message="Other nodes go first.", whose_move=Mover.NOBODY)
JUST_NOW = BEGIN - timedelta(seconds=5)


def a_joining_node(active_for: timedelta, **changes: object) -> Node:
    node = a_node(minted_at=BEGIN - active_for - MINUTE, incarnation_at=BEGIN - active_for - MINUTE)
    return reported(node, phase=NodePhase.CONFIGURING, active_at=BEGIN - active_for, joined_at=None, **changes)


CASES = [
    ("the provisioner has not heard of it", a_node(), Condition.COMING, None),
    ("everybody sees it well", a_well_node(), Condition.WELL, None),
    ("nobody has seen it yet", reported(a_node()), Condition.UNSEEN, None),
    (
        "a member of etcd says that it is well, and the others have not looked yet",
        witnessed(reported(a_node("e1", Role.ETCD)), etcd_peers=UNKNOWN, agent=WELL),
        Condition.WELL,
        None,
    ),
    (
        "the other members of etcd cannot tell, and its own agent has not been heard",
        witnessed(reported(a_node("e1", Role.ETCD)), etcd_peers=UNKNOWN, agent=UNKNOWN),
        Condition.UNSEEN,
        None,
    ),
    ("its server is positively gone", gone(a_well_node()), Condition.GONE, None),
    (
        "its old server is gone and the next one is on its way",
        reported(a_node(), phase=NodePhase.REPLACING, server_state=ServerState.GONE),
        Condition.COMING,
        None,
    ),
    (
        "the report still speaks of the server before",
        replace(gone(a_well_node()), incarnation=2),
        Condition.COMING,
        None,
    ),
    ("its build ended in ERROR", build_failed(a_node()), Condition.FAILED, None),
    (
        "the cloud refused its server for good",
        reported(a_node(), phase=NodePhase.FAILED, server_state=ServerState.NONE, active_at=None, joined_at=None),
        Condition.FAILED,
        None,
    ),
    (
        "it builds for an hour",
        reported(a_node(), phase=NodePhase.BOOTING, server_state=ServerState.BUILDING, active_at=None, joined_at=None),
        Condition.COMING,
        None,
    ),
    ("it is active for nine minutes and has not joined", a_joining_node(9 * MINUTE), Condition.COMING, None),
    ("it is active for ten minutes and has not joined", a_joining_node(10 * MINUTE), Condition.NEVER_JOINED, None),
    (
        "it has not joined as far as is known, and no list from after its deadline says so",
        replace(a_joining_node(10 * MINUTE), listed_at=BEGIN - timedelta(seconds=1)),
        Condition.DOUBTFUL,
        Gate.LISTED,
    ),
    (
        "the time it waited for others does not count",
        a_joining_node(15 * MINUTE, waited_for_others=360.0),
        Condition.COMING,
        None,
    ),
    ("it waits for others right now", a_joining_node(60 * MINUTE, waiting=FOR_OTHERS), Condition.COMING, None),
    ("two witnesses, long enough", dead(a_well_node()), Condition.DEAD, None),
    (
        "two witnesses, not long enough",
        dead(a_well_node(), since=BEGIN - 4 * MINUTE),
        Condition.DOUBTFUL,
        Gate.PATIENCE,
    ),
    (
        "the witnesses have not looked lately",
        dead(a_well_node(), at=BEGIN - timedelta(seconds=31)),
        Condition.DOUBTFUL,
        Gate.KNOWN,
    ),
    (
        "a lost agent alone",
        witnessed(a_well_node(), kubernetes=WELL, server=WELL, agent=BAD),
        Condition.DOUBTFUL,
        Gate.WITNESSES,
    ),
    (
        "a lost lease alone",
        witnessed(a_well_node(), kubernetes=BAD, server=WELL, agent=WELL),
        Condition.DOUBTFUL,
        Gate.WITNESSES,
    ),
    (
        "Kubernetes is unknown and the agent is lost",
        witnessed(a_well_node(), kubernetes=UNKNOWN, agent=BAD),
        Condition.DOUBTFUL,
        Gate.KNOWN,
    ),
    ("Kubernetes is unknown", witnessed(a_well_node(), kubernetes=UNKNOWN), Condition.UNSEEN, None),
    (
        "ERROR alone, of a node that joined",
        reported(witnessed(a_well_node(), kubernetes=WELL, server=BAD, agent=WELL), server_state=ServerState.ERROR),
        Condition.DOUBTFUL,
        Gate.WITNESSES,
    ),
    (
        "ERROR, and Kubernetes has lost it",
        reported(witnessed(a_well_node(), kubernetes=BAD, server=BAD), server_state=ServerState.ERROR),
        Condition.DEAD,
        None,
    ),
    (
        "the cloud is working on a server that two witnesses miss",
        reported(dead(a_well_node()), server_state=ServerState.WORKING),
        Condition.DOUBTFUL,
        Gate.KNOWN,
    ),
    (
        "what was seen of the server before does not count",
        reported(replace(dead(a_well_node()), incarnation=2)),
        Condition.UNSEEN,
        None,
    ),
    ("etcd, missed by the others and by its agent", dead(a_well_node("e1", Role.ETCD)), Condition.DEAD, None),
    (
        "etcd, missed by its agent, and the others do not say",
        witnessed(a_well_node("e1", Role.ETCD), agent=BAD, server=BAD),
        Condition.DOUBTFUL,
        Gate.KNOWN,
    ),
    (
        "etcd, well by its own agent, and the others do not say",
        witnessed(a_well_node("e1", Role.ETCD), agent=WELL),
        Condition.WELL,
        None,
    ),
]


@pytest.mark.parametrize(("node", "condition", "gate"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_node_is_found_to_be(node: Node, condition: Condition, gate: Gate | None) -> None:
    finding = diagnose(node, HEALTH, POLICY, BEGIN)
    assert (finding.condition, finding.gate) == (condition, gate)
    if finding.is_ill or condition is Condition.DOUBTFUL:
        assert finding.reason is not None


def test_a_refusal_for_lack_of_time_says_when_the_time_is_up() -> None:
    finding = diagnose(dead(a_well_node(), since=JUST_NOW), HEALTH, POLICY, BEGIN)
    assert finding.look_again_at == JUST_NOW + HEALTH.unready_after


def test_each_pool_has_its_own_patience() -> None:
    node = dead(a_well_node(), since=JUST_NOW)
    hasty = HealthPolicy(unready_after=timedelta(seconds=5))
    assert diagnose(node, hasty, POLICY, BEGIN).condition is Condition.DEAD


def test_a_joining_node_is_looked_at_again_when_its_time_is_up() -> None:
    node = a_joining_node(9 * MINUTE)
    assert diagnose(node, HEALTH, POLICY, BEGIN).look_again_at == BEGIN + MINUTE


@pytest.mark.parametrize(
    ("node", "bad", "confirmed"),
    [
        (a_well_node(), False, False),
        (dead(a_well_node()), True, False),
        (gone(a_well_node()), True, True),
        (build_failed(a_node()), False, True),
        (witnessed(a_well_node(), kubernetes=UNKNOWN, agent=BAD), False, False),
        (witnessed(a_well_node(), kubernetes=WELL, agent=BAD), False, False),
        (reported(dead(a_well_node()), server_state=ServerState.STOPPED), True, True),
    ],
    ids=["well", "dead", "gone", "never joined", "unknown", "agent lost", "stopped"],
)
def test_what_the_blast_radius_counts(node: Node, bad: bool, confirmed: bool) -> None:
    assert (is_bad(node), loss_confirmed(node)) == (bad, confirmed)
