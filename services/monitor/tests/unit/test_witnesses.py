"""What each witness says, as tables of cases."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from slipway_contracts.agent import UnitState
from slipway_contracts.monitor import NodeHealth, Verdict, WitnessName
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.values import Role
from slipway_monitor.domain.leases import listen
from slipway_monitor.domain.model import (
    NOT_FOUND,
    AgentView,
    Beat,
    CloudLook,
    ClusterLook,
    Limits,
    NodeView,
    ServerView,
    Sight,
    Watched,
)
from slipway_monitor.domain.witnesses import witnesses_of
from slipway_monitor.testing import START, a_node, a_row, an_observation

LIMITS = Limits()
SECOND = timedelta(seconds=1)
NOW = START + timedelta(hours=1)
H, U, X = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN


def a_sight(**changes: Any) -> Sight:
    """Everything is well with node w1: seen this very moment."""
    name = "node-w1"
    values: dict[str, Any] = {
        "now": NOW,
        "kubernetes": ClusterLook(NOW, {name: Beat(NOW, NOW)}, {name: NodeView(name, True, "KubeletReady")}, NOW),
        "cloud": CloudLook(NOW, {"server-w1": ServerView("server-w1", "project", "ACTIVE", None, NOW)}),
        "agents": {"w1": AgentView(NOW, an_observation("w1", NOW))},
        "listening_since": START,
        "others_heard_at": {"w1": NOW},
    }
    return Sight(**values | changes)


def said(name: WitnessName, sight: Sight, *, ready_in: int | None = 1, **changes: Any) -> Verdict | None:
    """What the witness says of w1, which was ready before unless told otherwise."""
    node = Watched(a_node("w1", **changes), ready_in=ready_in)
    found = {each.name: each.verdict for each in witnesses_of(node, sight, LIMITS)}
    return found.get(name)


def kubernetes(heard: timedelta | None, ready: bool | None = True, looked: timedelta = timedelta(0)) -> ClusterLook:
    """A look in which w1 was heard so long ago (None: it has no lease); other nodes have theirs."""
    at = NOW - looked
    beats = {"node-other": Beat(at, at)}
    if heard is not None:
        beats["node-w1"] = Beat(at - heard, at - heard)
    return ClusterLook(at, beats, {"node-w1": NodeView("node-w1", ready, "it says why")}, at)


@pytest.mark.parametrize(
    ("look", "ready_before", "fresh_node"),
    [
        pytest.param(kubernetes(9 * SECOND), H, H, id="a fresh lease and Ready is healthy"),
        pytest.param(kubernetes(25 * SECOND), H, H, id="at 25 s a lease is still fresh"),
        pytest.param(kubernetes(26 * SECOND), X, X, id="two missed renewals are suspect, not yet dead"),
        pytest.param(kubernetes(40 * SECOND), X, X, id="at 40 s a lease is not yet dead"),
        pytest.param(kubernetes(41 * SECOND), U, X, id="after 40 s a lease is dead, unless the node is only joining"),
        pytest.param(kubernetes(SECOND, ready=False), U, X, id="Ready=False is unhealthy once it was ready"),
        pytest.param(kubernetes(SECOND, ready=None), U, X, id="Ready=Unknown too"),
        pytest.param(kubernetes(None), U, X, id="a node without its lease, while others have theirs"),
        pytest.param(kubernetes(SECOND, looked=26 * SECOND), X, X, id="a look that is too old says nothing"),
        pytest.param(ClusterLook(NOW, {}, {}, NOW), X, X, id="no lease at all is an answer not to be believed"),
        pytest.param(None, None, None, id="without any look there is no witness"),
    ],
)
def test_kubernetes(look: ClusterLook | None, ready_before: Verdict | None, fresh_node: Verdict | None) -> None:
    sight = a_sight(kubernetes=look)
    assert said(WitnessName.KUBERNETES, sight) is ready_before
    just_joined = {"now": NOW - 50 * SECOND}
    assert said(WitnessName.KUBERNETES, sight, ready_in=None, **just_joined) is fresh_node


def test_a_node_that_had_time_enough_and_was_never_ready_is_unhealthy() -> None:
    sight = a_sight(kubernetes=kubernetes(SECOND, ready=False))
    assert said(WitnessName.KUBERNETES, sight, ready_in=None, now=NOW - timedelta(minutes=4)) is X
    assert said(WitnessName.KUBERNETES, sight, ready_in=None, now=NOW - timedelta(minutes=6)) is U


def test_an_etcd_node_has_no_kubernetes_witness() -> None:
    node = Watched(a_node("w1", Role.ETCD), ready_in=1)
    assert {each.name for each in witnesses_of(node, a_sight(), LIMITS)} == {WitnessName.SERVER, WitnessName.AGENT}


@pytest.mark.parametrize(
    ("provider_id", "verdict"),
    [
        pytest.param("openstack:///server-w1", H, id="the node's own server"),
        pytest.param("openstack://region/server-w1", H, id="with a region"),
        pytest.param("openstack:///server-old", X, id="an earlier server's Node object says nothing of this one"),
        pytest.param("metal://rack-4", H, id="a provider that is not ours is not judged"),
    ],
)
def test_a_node_object_counts_for_its_own_server_only(provider_id: str, verdict: Verdict) -> None:
    view = NodeView("node-w1", True, "KubeletReady", provider_id)
    look = replace(kubernetes(SECOND), nodes={"node-w1": view})
    assert said(WitnessName.KUBERNETES, a_sight(kubernetes=look)) is verdict


def test_an_older_server_is_not_taken_for_the_one_that_is_asked_for() -> None:
    node = Watched(a_node("w1", row=a_row("w1", incarnation=2), incarnation=1), ready_in=1)
    assert node.incarnation == 1
    assert node.was_ready
    assert not replace(node, state=node.state.model_copy(update={"incarnation": 2})).was_ready


def test_nothing_seen_before_the_server_was_active_counts() -> None:
    active = {"now": NOW - 5 * SECOND}
    old = AgentView(NOW - 6 * SECOND, an_observation("w1", NOW))
    sight = a_sight(kubernetes=kubernetes(6 * SECOND), agents={"w1": old})
    assert said(WitnessName.KUBERNETES, sight, ready_in=None, **active) is X
    assert said(WitnessName.AGENT, sight, ready_in=None, joined_at=None, **active) is None


@pytest.mark.parametrize(
    ("status", "task", "joined", "never_joined"),
    [
        ("ACTIVE", None, H, H),
        ("ACTIVE", "rebooting_hard", X, X),
        ("ACTIVE", "deleting", X, X),
        ("BUILD", None, X, X),
        ("MIGRATING", None, X, X),
        ("RESIZE", None, X, X),
        ("VERIFY_RESIZE", None, X, X),
        ("SHELVED_OFFLOADED", None, X, X),
        ("PAUSED", None, X, X),
        ("SHUTOFF", None, U, X),
        ("SHUTOFF", "powering-on", X, X),
        ("ERROR", None, U, X),
        ("DELETED", None, U, X),
        (NOT_FOUND, None, U, X),
    ],
)
def test_server(status: str, task: str | None, joined: Verdict, never_joined: Verdict) -> None:
    sight = a_sight(cloud=CloudLook(NOW, {"server-w1": ServerView("server-w1", "project", status, task, NOW)}))
    assert said(WitnessName.SERVER, sight) is joined
    assert said(WitnessName.SERVER, sight, ready_in=None, joined_at=None) is never_joined


def test_a_server_in_error_may_still_be_running_and_it_says_so() -> None:
    broken = ServerView("server-w1", "project", "ERROR", None, NOW, fault="disk full")
    sight = a_sight(cloud=CloudLook(NOW, {"server-w1": broken}))
    [witness] = [
        each
        for each in witnesses_of(Watched(a_node("w1"), ready_in=1), sight, LIMITS)
        if each.name is WitnessName.SERVER
    ]
    assert witness.saw == "ERROR (disk full); the machine may still be running"


@pytest.mark.parametrize(
    ("cloud", "verdict"),
    [
        pytest.param(CloudLook(NOW - 26 * SECOND, {}), X, id="a round too long ago says nothing"),
        pytest.param(CloudLook(NOW, {}), X, id="absence from the list is not absence"),
        pytest.param(CloudLook(None, {}), None, id="without a round there is no witness"),
    ],
)
def test_a_server_that_is_not_seen(cloud: CloudLook, verdict: Verdict | None) -> None:
    assert said(WitnessName.SERVER, a_sight(cloud=cloud)) is verdict


@pytest.mark.parametrize(
    ("heard_ago", "others_ago", "listening_for", "verdict"),
    [
        pytest.param(60, 0, 3600, H, id="60 s of silence is nothing yet"),
        pytest.param(61, 0, 3600, U, id="silent for longer, while others are heard"),
        pytest.param(61, 61, 3600, X, id="nobody is heard: it may be us"),
        pytest.param(61, None, 3600, X, id="there is nobody else"),
        pytest.param(600, 0, 30, H, id="we listen since half a minute only"),
    ],
)
def test_a_silent_agent(heard_ago: int, others_ago: int | None, listening_for: int, verdict: Verdict) -> None:
    sight = a_sight(
        agents={"w1": AgentView(NOW - heard_ago * SECOND, an_observation("w1", NOW))},
        others_heard_at={"w1": None if others_ago is None else NOW - others_ago * SECOND},
        listening_since=NOW - listening_for * SECOND,
    )
    assert said(WitnessName.AGENT, sight) is verdict


@pytest.mark.parametrize(
    ("observed", "was_ready", "is_joining"),
    [
        pytest.param({}, H, H, id="all units run and all probes pass"),
        pytest.param({"probe": False}, U, X, id="a probe fails"),
        pytest.param({"unit": UnitState.FAILED}, U, X, id="a unit failed"),
        pytest.param({"unit": UnitState.ABSENT}, U, X, id="a unit is gone"),
        pytest.param({"unit": UnitState.ACTIVATING}, X, X, id="a unit is starting"),
    ],
)
def test_an_agents_observation(observed: dict[str, Any], was_ready: Verdict, is_joining: Verdict) -> None:
    sight = a_sight(agents={"w1": AgentView(NOW, an_observation("w1", NOW, **observed))})
    assert said(WitnessName.AGENT, sight) is was_ready
    assert said(WitnessName.AGENT, sight, ready_in=None, now=NOW - SECOND) is is_joining


def test_a_plan_reported_applied_stands_for_the_observation_that_follows() -> None:
    sight = a_sight(agents={})
    joined = {"ready_in": None, "now": NOW - 5 * SECOND, "phase": NodePhase.PROVISIONED}
    assert said(WitnessName.AGENT, sight, **joined) is H


def test_a_witness_keeps_its_since_while_it_says_the_same() -> None:
    dead = a_sight(kubernetes=kubernetes(50 * SECOND))
    first = witnesses_of(Watched(a_node("w1"), ready_in=1), dead, LIMITS)
    health = NodeHealth(
        cluster_id="c1", pool_id="worker", node_id="w1", incarnation=1, verdict=U, since=NOW, witnesses=first
    )
    later = replace(dead, now=NOW + 10 * SECOND, kubernetes=replace(kubernetes(60 * SECOND), at=NOW + 10 * SECOND))
    second = witnesses_of(Watched(a_node("w1"), said=health, ready_in=1), later, LIMITS)
    assert (second[0].since, second[0].at) == (first[0].since, NOW + 10 * SECOND)


def test_leases_are_reckoned_by_the_nodes_clock_where_it_is_plausible() -> None:
    first = listen({}, {"good": NOW, "slow": NOW - timedelta(hours=1), "fast": NOW + timedelta(hours=1)}, None, NOW)
    assert {name: beat.heard_at for name, beat in first.items()} == {
        "good": NOW,
        "slow": NOW - timedelta(hours=1),
        "fast": NOW,
    }
    later = NOW + 10 * SECOND
    renewals = {
        "good": NOW + 4 * SECOND,
        "slow": NOW - timedelta(hours=1) + 10 * SECOND,
        "fast": NOW + timedelta(hours=1),
    }
    second = listen(first, renewals, NOW, later)
    assert second["good"].heard_at == NOW + 4 * SECOND
    assert second["slow"].heard_at == later, "an hour slow, but it renews"
    assert second["fast"].heard_at == NOW, "an hour fast, and it does not renew any more"
