"""What is worth saying, and when to look again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_contracts.monitor import (
    ClusterHealth,
    ClusterRecovered,
    ClusterUnhealthy,
    NodeHealth,
    NodeReady,
    NodeRecovered,
    NodeUnhealthy,
    Verdict,
    Witness,
    WitnessName,
)
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Role
from slipway_monitor.domain.model import Beat, CloudLook, ClusterLook, Limits, NodeView, Sight, Watched
from slipway_monitor.domain.verdict import (
    EventClass,
    NodeFinding,
    Reached,
    judge_cluster,
    judge_node,
    lists_nodes,
    next_look,
)
from slipway_monitor.testing import START, a_node

LIMITS = Limits()
SECOND = timedelta(seconds=1)
NOW = START + timedelta(hours=1)
H, U, X = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN


def a_look(heard: timedelta, ready: bool | None = True) -> ClusterLook:
    at = NOW - heard
    return ClusterLook(NOW, {"node-w1": Beat(at, at)}, {"node-w1": NodeView("node-w1", ready, "why")}, NOW)


def a_sight(look: ClusterLook | None) -> Sight:
    return Sight(NOW, look, CloudLook(None), {}, NOW, {"w1": NOW})


def health(verdict: Verdict, *, incarnation: int = 1, saw: str = "", ago: timedelta = 60 * SECOND) -> NodeHealth:
    witness = Witness(name=WitnessName.KUBERNETES, verdict=verdict, saw=saw, since=NOW - ago, at=NOW - ago)
    return NodeHealth(
        cluster_id="c1",
        pool_id="worker",
        node_id="w1",
        incarnation=incarnation,
        verdict=verdict,
        since=NOW - ago,
        witnesses=(witness,),
    )


@pytest.mark.parametrize(
    ("said", "ready_in", "look", "event"),
    [
        pytest.param(None, None, a_look(SECOND), NodeReady, id="healthy for the first time"),
        pytest.param(health(H), 1, a_look(SECOND), None, id="healthy as said"),
        pytest.param(health(U), 1, a_look(SECOND), NodeRecovered, id="healthy again"),
        pytest.param(health(U), None, a_look(SECOND), NodeReady, id="healthy at last"),
        pytest.param(health(H), 1, a_look(SECOND, ready=False), NodeUnhealthy, id="unhealthy now"),
        pytest.param(health(U, saw="other"), 1, a_look(SECOND, ready=False), NodeUnhealthy, id="for another reason"),
        pytest.param(health(H), 1, a_look(30 * SECOND), None, id="suspect is not said"),
        pytest.param(health(U), 1, a_look(30 * SECOND), None, id="nor a recovery that nobody saw"),
        pytest.param(health(H), 1, None, None, id="nobody looked"),
        pytest.param(health(U), 1, None, None, id="nobody looked at an unhealthy one"),
    ],
)
def test_what_is_said_of_a_node(
    said: NodeHealth | None, ready_in: int | None, look: ClusterLook | None, event: EventClass | None
) -> None:
    node = Watched(a_node("w1", now=NOW - 60 * SECOND), said=said, ready_in=ready_in, announced_at=NOW)
    assert judge_node(node, a_sight(look), LIMITS).event is event


@pytest.mark.parametrize(("ago", "event"), [(9, None), (10, NodeUnhealthy), (30, NodeUnhealthy)])
def test_an_unhealthy_node_is_said_again_every_ten_seconds_with_its_fresh_look(
    ago: int, event: EventClass | None
) -> None:
    sight = a_sight(a_look(SECOND, ready=False))
    now = NOW + ago * SECOND
    said = judge_node(Watched(a_node("w1"), ready_in=1), sight, LIMITS).health
    later = replace(sight, now=now, kubernetes=replace(a_look(SECOND, ready=False), at=now))
    node = Watched(a_node("w1"), said=said, ready_in=1, announced_at=NOW)
    finding = judge_node(node, later, LIMITS)
    assert finding.event is event
    assert finding.health.since == said.since


def test_nothing_is_said_of_a_node_that_is_leaving() -> None:
    node = Watched(a_node("w1", phase=NodePhase.REMOVING), said=health(H), ready_in=1)
    assert judge_node(node, a_sight(a_look(SECOND, ready=False)), LIMITS).event is None


def findings(role: Role, verdicts: list[Verdict]) -> list[NodeFinding]:
    found = []
    for number, verdict in enumerate(verdicts):
        node = Watched(a_node(f"{role.value}{number}", role), said=health(verdict), ready_in=1)
        found.append(NodeFinding(node, health(verdict), None))
    return found


REACHED = Reached(expected=True, last_at=NOW)
FAILING = replace(REACHED, failing_since=NOW - 31 * SECOND, cause="refused")


@pytest.mark.parametrize(
    ("nodes", "reached", "verdict", "codes"),
    [
        pytest.param(findings(Role.WORKER, [H, H]), REACHED, H, [], id="well"),
        pytest.param(
            findings(Role.WORKER, [U, H, H]), REACHED, H, [], id="one worker of three is no cluster's trouble"
        ),
        pytest.param(findings(Role.WORKER, [U, U, H]), REACHED, U, ["WorkerNodesUnhealthy"], id="two of three are"),
        pytest.param(findings(Role.WORKER, [U]), REACHED, U, ["WorkerNodesUnhealthy"], id="the only worker"),
        pytest.param(findings(Role.ETCD, [U, U, H, H, H]), REACHED, H, [], id="etcd keeps its majority"),
        pytest.param(findings(Role.ETCD, [U, U, U, H, H]), REACHED, U, ["EtcdNodesUnhealthy"], id="etcd loses it"),
        pytest.param(
            findings(Role.CONTROLLER, [U]), REACHED, U, ["ControllerNodesUnhealthy"], id="the only controller"
        ),
        pytest.param([], FAILING, U, ["ApiUnreachable"], id="the API does not answer"),
        pytest.param([], replace(FAILING, failing_since=NOW - SECOND), X, [], id="it failed once: not known"),
        pytest.param([], Reached(expected=False, last_at=None), X, [], id="it is not there yet"),
    ],
)
def test_a_clusters_health(nodes: list[NodeFinding], reached: Reached, verdict: Verdict, codes: list[str]) -> None:
    finding = judge_cluster("c1", nodes, reached, None, NOW, LIMITS)
    assert finding.health.verdict is verdict
    assert [reason.code for reason in finding.health.reasons] == codes
    assert finding.event is {H: ClusterRecovered, U: ClusterUnhealthy, X: None}[verdict]
    said: ClusterHealth = finding.health
    assert judge_cluster("c1", nodes, reached, said, NOW + SECOND, LIMITS).event is None, "said once"


def watched(phase: NodePhase, age: timedelta, ready_in: int | None = None) -> Watched:
    return Watched(a_node("w1", phase=phase, now=NOW - age), ready_in=ready_in)


@pytest.mark.parametrize(
    ("node", "heard", "seconds"),
    [
        pytest.param(watched(NodePhase.PROVISIONED, 60 * SECOND, ready_in=1), 5, 10, id="all is well"),
        pytest.param(watched(NodePhase.PROVISIONED, 0 * SECOND), 5, 0.1, id="a node joined this moment"),
        pytest.param(watched(NodePhase.PROVISIONED, 4 * SECOND), 5, 1, id="a quarter of the time it takes"),
        pytest.param(watched(NodePhase.PROVISIONED, 60 * SECOND), 5, 2, id="never more than two seconds"),
        pytest.param(watched(NodePhase.PROVISIONED, 301 * SECOND), 5, 10, id="it takes too long to be polled for"),
        pytest.param(watched(NodePhase.BOOTING, 1 * SECOND), 5, 10, id="a booting node cannot be ready"),
        pytest.param(
            watched(NodePhase.PROVISIONED, 60 * SECOND, ready_in=1), 36, 4.1, id="when its lease will be dead"
        ),
    ],
)
def test_the_next_look(node: Watched, heard: int, seconds: float) -> None:
    assert next_look([node], a_sight(a_look(heard * SECOND)), LIMITS) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("look", "ready_in", "wanted"),
    [
        pytest.param(a_look(SECOND), 1, False, id="fresh leases are enough"),
        pytest.param(a_look(26 * SECOND), 1, True, id="a late lease asks for the conditions"),
        pytest.param(a_look(SECOND, ready=False), 1, True, id="a node that is not Ready is looked at again"),
        pytest.param(a_look(SECOND), None, True, id="a node is joining"),
        pytest.param(replace(a_look(SECOND), nodes_at=NOW - 30 * SECOND), 1, True, id="the conditions are old"),
        pytest.param(replace(a_look(SECOND), nodes={}), 1, True, id="a lease without its node"),
    ],
)
def test_nodes_are_listed_only_when_leases_do_not_say_enough(
    look: ClusterLook, ready_in: int | None, wanted: bool
) -> None:
    assert lists_nodes([Watched(a_node("w1"), ready_in=ready_in)], look, NOW, LIMITS) is wanted
