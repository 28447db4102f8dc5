"""Etcd and controllers: changed one at a time, in their place, and never at the price of etcd's majority."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_contracts.monitor import EtcdMembership
from slipway_contracts.provisioner import NodePhase
from slipway_contracts.testing import a_node_spec
from slipway_contracts.values import Role
from slipway_healer.domain.model import Node
from slipway_healer.testing import (
    BEGIN,
    a_member,
    a_membership,
    a_node,
    a_pool,
    a_well_node,
    build_failed,
    dead,
    decided,
    described,
    gone,
    reported,
)


def members(role: Role, well: int, *ill: Node) -> list[Node]:
    return [*ill, *(a_well_node(f"{role.value[0]}{number + 5}", role) for number in range(well))]


def in_place(node: Node) -> Node:
    return reported(replace(node, incarnation=2, incarnation_at=BEGIN, health=None), phase=NodePhase.BOOTING,
                    active_at=None, joined_at=None)  # fmt: skip


C1, E1 = a_well_node("c1", Role.CONTROLLER), a_well_node("e1", Role.ETCD)


def test_a_gone_controller_gets_another_server_in_its_place() -> None:
    decision = decided(a_pool(Role.CONTROLLER), members(Role.CONTROLLER, 2, gone(C1)))
    assert described(decision) == ["replace c1"]


def test_started_controllers_are_changed_one_at_a_time() -> None:
    both = members(Role.CONTROLLER, 1, gone(C1), gone(a_well_node("c2", Role.CONTROLLER)))
    assert described(decided(a_pool(Role.CONTROLLER), both)) == ["replace c1", "refuse c2 at role_safety"]
    other = members(Role.CONTROLLER, 1, in_place(C1), gone(a_well_node("c2", Role.CONTROLLER)))
    assert described(decided(a_pool(Role.CONTROLLER), other)) == ["refuse c2 at role_safety"]


def test_etcd_and_controllers_wait_for_each_other() -> None:
    decision = decided(
        a_pool(Role.CONTROLLER), members(Role.CONTROLLER, 2, gone(C1)), others=members(Role.ETCD, 2, in_place(E1))
    )
    assert described(decision) == ["refuse c1 at role_safety"]


def test_etcd_nodes_that_never_started_are_made_again_at_once_and_together() -> None:
    failed = [build_failed(a_node(f"e{number}", Role.ETCD)) for number in (1, 2)]
    decision = decided(a_pool(Role.ETCD), members(Role.ETCD, 1, *failed))
    assert described(decision) == ["replace e1", "replace e2"]


@pytest.mark.parametrize(
    ("well", "ill", "expected"),
    [
        (4, [gone(E1)], ["replace e1"]),
        (2, [gone(E1)], ["replace e1"]),
        (1, [gone(E1), gone(a_well_node("e2", Role.ETCD))], ["refuse e1 at role_safety", "refuse e2 at role_safety"]),
        (0, [gone(E1)], ["refuse e1 at role_safety"]),
        (2, [dead(E1)], ["reboot e1"]),
        (0, [dead(E1)], ["refuse e1 at role_safety"]),
    ],
    ids=["1 of 5 gone", "1 of 3 gone", "2 of 3 gone", "1 of 1 gone", "1 of 3 dead", "1 of 1 dead"],
)
def test_the_predicted_membership_of_etcd_keeps_its_majority(well: int, ill: list[Node], expected: list[str]) -> None:
    nodes = members(Role.ETCD, well, *ill)
    assert described(decided(a_pool(Role.ETCD, len(nodes)), nodes)) == expected


M1, M2, M3 = a_member(1, "e1", healthy=False), a_member(2, "e5"), a_member(3, "e6")


@pytest.mark.parametrize(
    ("membership", "expected"),
    [
        pytest.param(a_membership(M1, M2, M3), [], id="the others are well"),
        pytest.param(
            a_membership(M1, M2, a_member(3, "e6", healthy=False)), ["EtcdQuorumAtRisk"], id="one more is not reached"
        ),
        pytest.param(
            a_membership(M1, M2, M3, a_member(4, None, healthy=False)),
            ["EtcdQuorumAtRisk"],
            id="a voter that is not ours is not reached",
        ),
        pytest.param(a_membership(M1, M2, M3, a_member(4, None)), [], id="four voters of whom three are well"),
        pytest.param(a_membership(M2, M3), [], id="it was removed from the membership already"),
        pytest.param(a_membership(M2, M3, learners=[a_member(1, "e1")]), [], id="its own learner is there"),
        pytest.param(
            a_membership(M1, M2, M3, learners=[a_member(4, "e6")]),
            ["EtcdMembershipChanging"],
            id="another one's learner is there",
        ),
    ],
)
def test_the_members_agents_tell_who_votes_and_is_well(membership: EtcdMembership, expected: list[str]) -> None:
    decision = decided(a_pool(Role.ETCD), members(Role.ETCD, 2, gone(E1)), etcd=membership)
    assert [refusal.reason.code for refusal in decision.refusals] == expected
    assert described(decision)[:1] == (["replace e1"] if not expected else ["refuse e1 at role_safety"])


def test_the_membership_may_lag_behind_what_is_known_of_a_members_server() -> None:
    nodes = members(Role.ETCD, 1, gone(E1), gone(a_well_node("e2", Role.ETCD)))
    said = a_membership(M1, a_member(2, "e2"), a_member(3, "e5"))
    codes = [refusal.reason.code for refusal in decided(a_pool(Role.ETCD), nodes, etcd=said).refusals]
    assert codes == ["EtcdQuorumAtRisk", "EtcdQuorumAtRisk"]


def test_etcd_gets_no_fewer_members_once_it_started() -> None:
    decision = decided(a_pool(Role.ETCD, 1), members(Role.ETCD, 3))
    assert {refusal.reason.code for refusal in decision.refusals} == {"EtcdSizeFixed"}
    assert decision.does_nothing


def test_etcd_gets_no_more_members_once_it_started() -> None:
    decision = decided(a_pool(Role.ETCD, 5), members(Role.ETCD, 3))
    assert described(decision) == ["refuse pool at role_safety"]


def test_the_last_ready_controller_stays() -> None:
    nodes = members(Role.CONTROLLER, 1)
    assert described(decided(a_pool(Role.CONTROLLER, 0), nodes)) == ["refuse c5 at role_safety"]


def test_a_new_spec_changes_controllers_in_place_only_while_all_others_work() -> None:
    pool = a_pool(Role.CONTROLLER, node_spec=a_node_spec(version=2))
    assert described(decided(pool, members(Role.CONTROLLER, 3))) == ["replace c5"]
    unseen = reported(a_node("e1", Role.ETCD))
    assert described(decided(pool, members(Role.CONTROLLER, 3), others=[unseen])) == ["refuse c5 at role_safety"]


def test_a_stale_new_incarnation_is_extended() -> None:
    node = replace(C1, incarnation=2, incarnation_at=BEGIN - timedelta(minutes=3))
    node = reported(replace(node, decided_at=BEGIN - timedelta(minutes=3)), stale=True, incarnation=1)
    assert described(decided(a_pool(Role.CONTROLLER), members(Role.CONTROLLER, 2, node))) == ["extend c1"]
