"""The membership of etcd and the witness of the other members, as tables of cases."""

from datetime import timedelta
from typing import Any

import pytest

from slipway_contracts.agent import EtcdMemberView, EtcdObservation
from slipway_contracts.monitor import EtcdMembership, Verdict, Witness, WitnessName
from slipway_contracts.values import Role
from slipway_monitor.domain.etcd import look_at_etcd
from slipway_monitor.domain.model import AgentView, CloudLook, EtcdLook, Limits, Sight, Watched
from slipway_monitor.domain.witnesses import witnesses_of
from slipway_monitor.testing import (
    START,
    a_member,
    a_member_id,
    a_node,
    a_peer_url,
    a_row,
    an_etcd,
    an_observation,
)

LIMITS = Limits()
NOW = START + timedelta(hours=1)
SECOND = timedelta(seconds=1)
H, U, X = Verdict.HEALTHY, Verdict.UNHEALTHY, Verdict.UNKNOWN


def a_watched(number: int, *, ready: bool = True, **changes: Any) -> Watched:
    name = f"e{number}"
    values = {"addresses": (f"10.0.0.{number}",)} | changes
    return Watched(a_node(name, Role.ETCD, **values), ready_in=1 if ready else None)


def members(count: int, *dead: int) -> tuple[EtcdMemberView, ...]:
    return tuple(a_member(number, healthy=number not in dead) for number in range(1, count + 1))


def a_sight(views: dict[int, EtcdObservation], *, age: timedelta = 0 * SECOND, since: timedelta | None = None) -> Sight:
    """The agents on nodes e1, e2 ... pushed these views so long ago."""
    at = NOW - age
    agents = {f"e{n}": AgentView(at, an_observation(f"e{n}", at, etcd=view)) for n, view in views.items()}
    return Sight(
        now=NOW,
        kubernetes=None,
        cloud=CloudLook(None),
        agents=agents,
        listening_since=START if since is None else NOW - since,
        others_heard_at={},
    )


def looked(sight: Sight, *nodes: Watched, said: EtcdMembership | None = None) -> EtcdLook:
    return look_at_etcd("c1", nodes, sight, said, LIMITS)


def of_five(*dead: int, **more: Any) -> tuple[Sight, list[Watched]]:
    """Five members of which some are dead: neither they nor their agents say anything."""
    views = {n: an_etcd(n, *members(5, *dead), leader=3) for n in range(1, 6) if n not in dead}
    return a_sight(views, **more), [a_watched(n) for n in range(1, 6)]


def membership_of(sight: Sight, nodes: list[Watched], said: EtcdMembership | None = None) -> EtcdMembership:
    membership = looked(sight, *nodes, said=said).membership
    assert membership is not None
    return membership


def health_of(membership: EtcdMembership) -> dict[str | None, tuple[bool, int, int]]:
    found = (*membership.voters, *membership.learners)
    return {each.node_id: (each.healthy, each.seen_unhealthy_by, each.seen_by) for each in found}


def test_the_members_that_others_reach_are_healthy() -> None:
    membership = membership_of(*of_five(1, 5))
    assert health_of(membership) == {
        "e1": (False, 3, 3),
        "e2": (True, 0, 2),
        "e3": (True, 0, 2),
        "e4": (True, 0, 2),
        "e5": (False, 3, 3),
    }
    assert membership.leader_id == a_member_id(3)


def test_the_only_member_is_as_healthy_as_it_says() -> None:
    for healthy in (True, False):
        sight = a_sight({1: an_etcd(1, a_member(1, healthy=healthy))})
        assert health_of(membership_of(sight, [a_watched(1)])) == {"e1": (healthy, 0, 0)}


def test_one_agent_against_another_is_no_majority_for_health() -> None:
    views = {n: an_etcd(n, *members(3, *([3] if n == 1 else []))) for n in (1, 2)}
    assert health_of(membership_of(a_sight(views), [a_watched(n) for n in (1, 2, 3)]))["e3"] == (False, 1, 2)


def test_a_member_that_is_cut_off_does_not_outvote_those_with_a_leader() -> None:
    old, new = members(3), (*members(2), a_member(3, name="node-e3-2", member_id=a_member_id(33)))
    views = {1: an_etcd(1, *new), 2: an_etcd(2, *old, leader=None), 3: an_etcd(3, *old, leader=None)}
    membership = membership_of(a_sight(views), [a_watched(n) for n in (1, 2, 3)])
    assert [each.member_id for each in membership.voters] == [a_member_id(1), a_member_id(2), a_member_id(33)]


def test_while_the_lists_do_not_agree_the_last_membership_stays() -> None:
    nodes = [a_watched(n) for n in (1, 2)]
    said = membership_of(a_sight({n: an_etcd(n, *members(2)) for n in (1, 2)}), nodes)
    more = (*members(2), a_member(3, name="", learner=True))
    sight = a_sight({1: an_etcd(1, *members(2)), 2: an_etcd(2, *more)})
    assert membership_of(sight, nodes, said) == said
    assert looked(sight, *nodes).membership is None


def test_nothing_is_said_of_an_etcd_that_nobody_ever_described() -> None:
    assert looked(a_sight({}), a_watched(1)).membership is None


def test_members_of_whom_nothing_is_heard_any_more_are_not_called_healthy() -> None:
    sight, nodes = of_five()
    said = membership_of(sight, nodes)
    silent, _ = of_five(age=LIMITS.peer_view_stale + SECOND)
    after = membership_of(silent, nodes, said)
    assert set(health_of(after).values()) == {(False, 0, 0)}
    assert [each.member_id for each in after.voters] == [each.member_id for each in said.voters]


def test_a_process_that_has_just_started_does_not_judge_by_the_few_it_heard() -> None:
    sight, nodes = of_five()
    said = membership_of(sight, nodes)
    few = a_sight({1: an_etcd(1, *members(5))}, since=10 * SECOND)
    assert membership_of(few, nodes, said) == said
    longer = a_sight({1: an_etcd(1, *members(5))}, since=LIMITS.peer_view_stale + SECOND)
    assert health_of(membership_of(longer, nodes, said))["e2"] == (True, 0, 1)


def test_since_when_it_is_so_is_kept_until_something_changes() -> None:
    sight, nodes = of_five()
    said = membership_of(sight, nodes).model_copy(update={"since": START})
    assert membership_of(sight, nodes, said).since == START
    changed, _ = of_five(2)
    assert membership_of(changed, nodes, said).since == NOW


@pytest.mark.parametrize(
    ("member", "node_id"),
    [
        pytest.param(a_member(2), "e2", id="by its address"),
        pytest.param(a_member(2, name="", learner=True), "e2", id="a learner that never started, by its address"),
        pytest.param(a_member(2, peer_url=a_peer_url(99)), "e2", id="by its name, where its port was lost"),
        pytest.param(a_member(2, name="node-e2-3", peer_url=a_peer_url(99)), "e2", id="by the name of a later server"),
        pytest.param(a_member(2, name="node-e2-x", peer_url=a_peer_url(99)), None, id="a name that only begins alike"),
        pytest.param(a_member(2, name="node-e22", peer_url=a_peer_url(99)), None, id="a longer name"),
    ],
)
def test_whose_member_it_is(member: EtcdMemberView, node_id: str | None) -> None:
    sight = a_sight({1: an_etcd(1, a_member(1), member)})
    membership = membership_of(sight, [a_watched(1), a_watched(2), a_watched(3)])
    found = {each.member_id: each.node_id for each in (*membership.voters, *membership.learners)}
    assert found == {a_member_id(1): "e1", a_member_id(2): node_id}


def peers(sight: Sight, nodes: list[Watched], index: int) -> Witness | None:
    look = looked(sight, *nodes)
    seen = Sight(**{**vars(sight), "etcd": look})
    found = [each for each in witnesses_of(nodes[index], seen, LIMITS) if each.name is WitnessName.ETCD_PEERS]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("count", "dead", "silent", "verdict"),
    [
        pytest.param(3, (), (), H, id="both others reach it"),
        pytest.param(3, (1,), (), U, id="neither of two reaches it"),
        pytest.param(3, (1,), (2,), X, id="one of two does not reach it and the other says nothing"),
        pytest.param(5, (1, 2), (), U, id="two of five are dead, the three others agree"),
        pytest.param(5, (1, 2, 3), (), X, id="without a majority of the others nobody knows"),
        pytest.param(5, (), (2, 3), X, id="two of four others reach it, two are silent"),
        pytest.param(2, (1,), (), U, id="the only other one does not reach it"),
        pytest.param(1, (), (), None, id="there is no other one"),
    ],
)
def test_the_witness_of_the_other_members(
    count: int, dead: tuple[int, ...], silent: tuple[int, ...], verdict: Verdict | None
) -> None:
    speak = [n for n in range(1, count + 1) if n not in dead and n not in silent]
    leader = speak[-1]
    sight = a_sight({n: an_etcd(n, *members(count, *dead), leader=leader) for n in speak})
    witness = peers(sight, [a_watched(n) for n in range(1, count + 1)], 0)
    assert (witness.verdict if witness else None) == verdict


def test_a_member_without_a_vote_is_not_reached_by_anybody() -> None:
    nodes = [a_watched(n) for n in (1, 2, 3)]
    learner = (a_member(1, learner=True), *members(3)[1:])
    removed = members(3)[1:]
    for listed in (learner, removed):
        witness = peers(a_sight({n: an_etcd(n, *listed, leader=2) for n in (2, 3)}), nodes, 0)
        assert witness is not None
        assert witness.verdict is U
        assert "it has no vote" in witness.saw


def test_a_new_server_that_never_voted_is_still_joining() -> None:
    nodes = [a_watched(1, ready=False, joined_at=None), a_watched(2), a_watched(3)]
    witness = peers(a_sight({n: an_etcd(n, *members(3, 1), leader=2) for n in (2, 3)}), nodes, 0)
    assert witness is not None
    assert witness.verdict is X


def test_looks_from_before_the_present_server_do_not_count() -> None:
    nodes = [a_watched(1, active_at=NOW, joined_at=NOW), a_watched(2), a_watched(3)]
    witness = peers(a_sight({n: an_etcd(n, *members(3, 1), leader=2) for n in (2, 3)}, age=SECOND), nodes, 0)
    assert witness is not None
    assert witness.verdict is X


def test_a_worker_has_no_such_witness() -> None:
    sight, nodes = of_five()
    seen = Sight(**{**vars(sight), "etcd": looked(sight, *nodes)})
    worker = Watched(a_node("w1", row=a_row("w1")), ready_in=1)
    assert WitnessName.ETCD_PEERS not in {each.name for each in witnesses_of(worker, seen, LIMITS)}
