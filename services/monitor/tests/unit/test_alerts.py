"""Which alerts there should be, as a table of conditions and times."""

from datetime import timedelta

import pytest

from slipway_contracts.healer import Wanted
from slipway_contracts.monitor import AlertName, ClusterHealth, Severity, Verdict
from slipway_contracts.provisioner import NodePhase, NodeState
from slipway_contracts.values import Reason
from slipway_monitor.domain.alerts import AlertLimits, Condition, conditions_of, decide_alerts
from slipway_monitor.domain.model import CloudLook, Limits, Sight, Watched
from slipway_monitor.domain.verdict import NodeFinding, judge_node
from slipway_monitor.testing import START, a_node, a_row, a_spec

LIMITS = AlertLimits()
MINUTE = timedelta(minutes=1)


def a_condition(since_minutes: int = 0) -> Condition:
    since = START + since_minutes * MINUTE
    return Condition(AlertName.UNHEALTHY_NODE_CONDITION, "w1", since, 5 * MINUTE, Severity.WARNING, "w1 is unhealthy")


KEY = a_condition().key


@pytest.mark.parametrize(
    ("conditions", "open_keys", "raises", "resolves"),
    [
        pytest.param([], set(), 0, (), id="nothing is wrong"),
        pytest.param([a_condition(5)], set(), 0, (), id="wrong for exactly its limit"),
        pytest.param([a_condition(4)], set(), 1, (), id="wrong for longer"),
        pytest.param([a_condition(4)], {KEY}, 0, (), id="an open alert is not raised twice"),
        pytest.param([], {KEY}, 0, (KEY,), id="not wrong any more"),
        pytest.param([a_condition(9)], {KEY}, 0, (), id="an open one stays while the condition does"),
    ],
)
def test_alerts(conditions: list[Condition], open_keys: set[str], raises: int, resolves: tuple[str, ...]) -> None:
    decision = decide_alerts(conditions, open_keys, START + 10 * MINUTE)
    assert (len(decision.raises), decision.resolves) == (raises, resolves)


def a_finding(state: NodeState, *, ready_in: int | None = None) -> NodeFinding:
    sight = Sight(START, None, CloudLook(None), {}, START, {})
    return judge_node(Watched(state, ready_in=ready_in), sight, Limits())


def conditions(*findings: NodeFinding, ever_well: bool = True, **spec: object) -> list[tuple[AlertName, str | None]]:
    cluster = ClusterHealth(cluster_id="c1", verdict=Verdict.HEALTHY, since=START)
    found = conditions_of(a_spec(**spec), findings, cluster, ever_well=ever_well, limits=LIMITS)
    return [(each.name, each.node_id) for each in found]


CREATING = {"phase": NodePhase.CREATING, "active_at": None, "joined_at": None}


def test_a_node_on_its_way_is_a_condition_until_it_was_ready() -> None:
    assert conditions(a_finding(a_node("w1", **CREATING))) == [(AlertName.LONG_NODE_PROVISIONING, "w1")]
    assert conditions(a_finding(a_node("w1"), ready_in=1)) == []


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(a_node("w1", **CREATING | {"phase": NodePhase.REMOVING}), id="it is being removed"),
        pytest.param(a_node("w1", row=a_row("w1", wanted=Wanted.REMOVED), **CREATING), id="it is to be removed"),
    ],
)
def test_a_node_on_its_way_out_is_no_condition(state: NodeState) -> None:
    assert conditions(a_finding(state)) == []


def test_a_new_incarnation_starts_its_time_anew_and_says_what_it_waits_for() -> None:
    row = a_row("w1", incarnation=2, decided_at=START + 60 * MINUTE)
    why = Reason(code="QuotaExceeded", message="The project has no cores left")
    finding = a_finding(a_node("w1", row=row, waiting=why, **CREATING))
    cluster = ClusterHealth(cluster_id="c1", verdict=Verdict.HEALTHY, since=START)
    [found] = conditions_of(a_spec(), [finding], cluster, ever_well=True, limits=LIMITS)
    assert found.since == START + 60 * MINUTE
    assert "The project has no cores left" in found.message


def test_a_cluster_being_made_is_a_condition_until_it_was_well_once() -> None:
    assert conditions(ever_well=False) == [(AlertName.LONG_CLUSTER_PROVISIONING, None)]
    assert conditions(ever_well=True) == []


def test_a_cluster_being_deleted_has_no_conditions() -> None:
    stuck = a_finding(a_node("w1", **CREATING))
    assert conditions(stuck, ever_well=False, deletion_requested_at=START) == []
