"""How own rows and the provisioner's report become one picture."""

from dataclasses import replace
from datetime import timedelta

from slipway_contracts.healer import Wanted
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.values import Role
from slipway_healer.domain.adoption import is_awaited, merge
from slipway_healer.domain.model import Node
from slipway_healer.testing import BEGIN, LONG_AGO, a_node, a_well_node, reported


def report_of(node: Node) -> NodeState:
    state = reported(node).report
    assert state is not None
    return state


def merged(*own: Node, reports: tuple[NodeState, ...] = (), **more: object) -> list[Node]:
    return merge(own, reports, more.pop("ended", {}), {}, **more)  # type: ignore[arg-type]


def test_an_unknown_node_of_the_list_is_adopted_as_it_is() -> None:
    known = a_node("c1", Role.CONTROLLER, incarnation=2, reboots=3, update=1, replaces="c0")
    (node,) = merged(reports=(report_of(known),))
    assert (node.node_id, node.name, node.role) == ("c1", "c1", Role.CONTROLLER)
    assert (node.incarnation, node.reboots, node.update, node.replaces) == (2, 3, 1, "c0")
    assert node.ever_joined
    assert node.joined


def test_what_grows_only_grows() -> None:
    own = a_node("c1", Role.CONTROLLER, incarnation=1, reboots=5, update=0)
    theirs = a_node("c1", Role.CONTROLLER, incarnation=3, reboots=2, update=4)
    (node,) = merged(own, reports=(report_of(theirs),))
    assert (node.incarnation, node.reboots, node.update) == (3, 5, 4)


def test_a_removal_that_cannot_be_withdrawn_is_accepted() -> None:
    state = report_of(a_node("w1", wanted=Wanted.REMOVED, drain=False)).model_copy(
        update={"phase": NodePhase.REMOVING, "server_state": ServerState.DELETING}
    )
    (node,) = merged(a_node("w1"), reports=(state,))
    assert (node.wanted, node.drain) == (Wanted.REMOVED, False)


def test_a_removed_node_leaves_the_picture() -> None:
    state = report_of(a_node("w1", wanted=Wanted.REMOVED)).model_copy(update={"phase": NodePhase.REMOVED})
    assert merged(a_node("w1", wanted=Wanted.REMOVED), ended={"w1": state}) == []
    assert merged(a_node("w1"), ended={"w1": state}) == []


def test_a_wanted_node_that_a_list_lacks_stays_wanted() -> None:
    assert [node.node_id for node in merged(a_node("w1"), ended={"w1": report_of(a_node("w1"))})] == ["w1"]


def test_a_late_word_about_a_node_long_removed_adopts_nothing() -> None:
    assert merged(reports=(report_of(a_node("w1")),), removed={"w1"}) == []


def test_a_node_taken_back_before_the_provisioner_heard_of_it_leaves_with_the_next_list() -> None:
    node = a_node("w1", wanted=Wanted.REMOVED, valid_until=BEGIN)
    assert merged(node, listed_at=BEGIN - timedelta(seconds=1)) == [node]
    assert is_awaited(node, BEGIN + timedelta(seconds=1))
    assert merged(node, listed_at=BEGIN + timedelta(seconds=1)) == []


def test_a_stale_row_of_an_earlier_incarnation_says_nothing_of_the_present_server() -> None:
    own = replace(a_well_node("c1", Role.CONTROLLER), incarnation=2, incarnation_at=BEGIN)
    state = report_of(a_node("c1", Role.CONTROLLER))
    (node,) = merged(own, reports=(state,))
    assert node.accepted is None
    (by_time,) = merged(own, reports=(state.model_copy(update={"incarnation": None}),))
    assert not by_time.joined


def test_a_provisioner_that_does_not_tell_the_servers_incarnation_is_understood_by_time() -> None:
    own = a_node("c1", Role.CONTROLLER, incarnation=2, incarnation_at=LONG_AGO)
    state = report_of(own).model_copy(update={"incarnation": None})
    (new,) = merged(own, reports=(state,))
    assert new.joined
    (old,) = merged(own, reports=(state.model_copy(update={"active_at": LONG_AGO - timedelta(hours=1)}),))
    assert not old.joined
