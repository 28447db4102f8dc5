"""Who is behind the endpoint: a table of controllers on their way in and out."""

from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from slipway_chassis.regions import Endpoint
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.domain.endpoint import Rules, decide_members, same_members
from slipway_provisioner.domain.model import Member, MemberView
from slipway_provisioner.domain.plans.kubeadm import kubeadm_config
from slipway_provisioner.domain.plans.model import Endpoint as PlanEndpoint
from slipway_provisioner.domain.plans.profiles import decide_profiles
from slipway_provisioner.domain.plans.testing import STARTED_AT, plan_inputs

LIMIT = timedelta(seconds=60)


@dataclass
class Controller:
    node_id: str
    phase: NodePhase
    server_state: str = ServerState.ACTIVE
    role: str = Role.CONTROLLER
    since: object = STARTED_AT
    joined_at: object = STARTED_AT
    addresses: list[str] = field(default_factory=lambda: ["10.0.0.21"])


def weights(
    *nodes: Controller, seen: tuple[MemberView, ...] = (), established: bool = True, after: float = 1
) -> dict[str, int]:
    """The weights of the members, by node id."""
    now = STARTED_AT + timedelta(seconds=after)
    members = decide_members(nodes, seen, Rules(6443, established, LIMIT), now)  # type: ignore[arg-type]
    return {member.node_id: member.weight for member in members}


def behind(*node_ids: str, failing: bool = False) -> tuple[MemberView, ...]:
    return tuple(MemberView(Member(node_id, "10.0.0.21", 6443), failing) for node_id in node_ids)


SERVING = Controller("a", NodePhase.PROVISIONED)


@pytest.mark.parametrize(
    ("node", "seen", "after", "weight"),
    [
        pytest.param(Controller("b", NodePhase.PROVISIONED), (), 1, 1, id="one that is up serves"),
        pytest.param(
            Controller("b", NodePhase.REBOOTING), behind("b"), 1, 1, id="one that reboots is left to its check"
        ),
        pytest.param(
            Controller("b", NodePhase.CONFIGURING, joined_at=None), (), 1, None, id="a new one is not ready yet"
        ),
        pytest.param(Controller("b", NodePhase.CONFIGURING), (), 1, 1, id="a change in place keeps it"),
        pytest.param(Controller("b", NodePhase.REPLACING), behind("b"), 1, 0, id="one that leaves drains"),
        pytest.param(Controller("b", NodePhase.REMOVING), behind("b"), 1, 0, id="one that is removed drains"),
        pytest.param(Controller("b", NodePhase.REPLACING), (), 1, None, id="one that is out stays out"),
        pytest.param(Controller("b", NodePhase.REPLACING), behind("b"), 61, None, id="a drain has a limit"),
        pytest.param(
            Controller("b", NodePhase.REPLACING), behind("b", failing=True), 1, None, id="nothing drains from who fails"
        ),
        pytest.param(
            Controller("b", NodePhase.REPLACING, ServerState.GONE), behind("b"), 1, None, id="nor from a server gone"
        ),
        pytest.param(
            Controller("b", NodePhase.REPLACING, ServerState.STOPPED), behind("b"), 1, None, id="nor from one stopped"
        ),
        pytest.param(Controller("b", NodePhase.PROVISIONED, role=Role.WORKER), (), 1, None, id="a worker never serves"),
    ],
)
def test_a_controller_beside_another(
    node: Controller, seen: tuple[MemberView, ...], after: float, weight: int | None
) -> None:
    assert weights(SERVING, node, seen=seen, after=after) == {"a": 1} | ({"b": weight} if weight is not None else {})


def test_the_last_one_does_not_drain() -> None:
    assert weights(Controller("a", NodePhase.REPLACING), seen=behind("a")) == {}


def test_while_a_cluster_comes_up_whoever_has_a_server_is_behind() -> None:
    coming = Controller("a", NodePhase.BOOTING, joined_at=None)
    assert weights(coming, established=False) == {"a": 1}
    assert weights(coming, established=True) == {}


def test_a_stranger_among_the_members_is_a_difference() -> None:
    member = Member("a", "10.0.0.21", 6443)
    assert same_members(behind("a"), [member])
    assert not same_members((*behind("a"), *behind("somebody")), [member])
    assert not same_members(behind("a"), [Member("a", "10.0.0.21", 6443, weight=0)])


@pytest.mark.parametrize(("ready_delay", "wait"), [(2.0, 15), (5.0, 15), (7.0, 21), (8.0, 24)])
def test_an_api_server_that_stops_waits_until_nobody_is_sent_to_it(ready_delay: float, wait: int) -> None:
    endpoint = Endpoint(ready_delay=ready_delay)
    assert wait > endpoint.seen_down_after
    inputs = plan_inputs(Role.CONTROLLER, endpoint=PlanEndpoint("10.0.0.5", 6443, None, endpoint.seen_down_after))
    assert f"value: {wait}s" in kubeadm_config(inputs)


def test_both_addresses_of_an_endpoint_are_in_the_api_servers_certificate_and_nodes_use_the_inner_one() -> None:
    inputs = plan_inputs(Role.CONTROLLER, endpoint=PlanEndpoint("10.0.0.5", 6443, "203.0.113.7"))
    profile = decide_profiles(inputs)["apiserver"]
    assert {"10.0.0.5", "203.0.113.7"} <= set(profile.addresses)
    assert "controlPlaneEndpoint: 10.0.0.5:6443" in kubeadm_config(inputs)
    named = plan_inputs(Role.CONTROLLER, endpoint=PlanEndpoint("10.0.0.5", 6443, "api.example"))
    assert "api.example" in decide_profiles(named)["apiserver"].dns_names
