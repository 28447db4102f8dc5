"""Small pure decisions: rows, names, progress, Node objects, rules, bindings."""

import json
from pathlib import Path

import pytest

from slipway_contracts.healer import Wanted
from slipway_contracts.provisioner import NodePhase, ServerState, Step, StepState
from slipway_contracts.values import Reason, Role
from slipway_provisioner.domain.bindings import cluster_role_bindings, cluster_roles
from slipway_provisioner.domain.naming import resource_name
from slipway_provisioner.domain.progress import (
    INFRASTRUCTURE_STEPS,
    NodeView,
    PlanView,
    infrastructure_steps,
    node_percent,
    node_steps,
    node_waiting,
)
from slipway_provisioner.domain.rows import accept
from slipway_provisioner.domain.security_groups import RULES, rules_of
from slipway_provisioner.testing.builders import START, a_row

GOLDEN = Path(__file__).parent / "golden"


def test_counters_of_a_row_only_grow() -> None:
    known = a_row(Role.ETCD, incarnation=3, reboots=2, update=4)
    accepted = accept(known, a_row(Role.ETCD, incarnation=2, reboots=5, update=1, wanted=Wanted.REMOVED))
    assert (accepted.incarnation, accepted.reboots, accepted.update) == (3, 5, 4)
    assert accepted.wanted is Wanted.REMOVED
    assert accept(None, known) == known


def test_who_may_talk_to_whom_is_as_written_down() -> None:
    lines = [
        f"{role.value:10} {rule.protocol:4} {rule.first_port or '-'}-{rule.last_port or '-'}"
        f" from {rule.source_group or 'anywhere'}: {rule.description}"
        for role in Role
        for rule in rules_of(role)
    ]
    assert lines == (GOLDEN / "security_groups.txt").read_text().splitlines()


def test_only_the_api_is_open_to_anybody() -> None:
    assert [(rule.to, rule.first_port) for rule in RULES if not rule.sources] == [(Role.CONTROLLER, 6443)]


def test_the_services_bindings_are_as_written_down() -> None:
    written = json.loads((GOLDEN / "bindings.json").read_text())
    assert cluster_roles() + cluster_role_bindings() == written
    assert "system:masters" not in json.dumps(written)


def test_a_resources_name_ends_with_its_ledger_id() -> None:
    name = resource_name("blue", "x" * 300, "0199aaaa-bbbb-7ccc-8ddd-0123456789ab")
    assert name.startswith("slipway-blue-x")
    assert name.endswith("-0123456789ab")
    assert len(name) <= 255


def view(phase: NodePhase, **changes: object) -> NodeView:
    values: dict[str, object] = {
        "phase": phase,
        "since": START,
        "server": ServerState.ACTIVE,
        "active_at": START,
        "joined": False,
        "has_port": True,
        "has_server": True,
        "plan": PlanView(),
        "refusal": None,
    }
    return NodeView(**{**values, **changes})  # type: ignore[arg-type]


PLAN = PlanView(
    revision=1, claimed=True, percent=50, steps=(Step(name="etcd", title="Start etcd", state=StepState.RUNNING),)
)
PERCENTS = [
    ("nothing is there", view(NodePhase.PENDING, has_port=False, has_server=False, server=ServerState.NONE), 0),
    ("a port", view(NodePhase.CREATING, has_server=False, server=ServerState.NONE), 5),
    ("a server that is built", view(NodePhase.BOOTING, server=ServerState.BUILDING, active_at=None), 5),
    ("a server that boots", view(NodePhase.BOOTING), 15),
    ("half a plan", view(NodePhase.CONFIGURING, plan=PLAN), 67),
    ("the end", view(NodePhase.PROVISIONED, plan=PlanView(revision=2, applied_revision=2, claimed=True)), 100),
    (
        "a newer plan to come",
        view(NodePhase.PROVISIONED, plan=PlanView(revision=2, applied_revision=1, claimed=True, percent=100)),
        99,
    ),
]


@pytest.mark.parametrize(("node", "percent"), [case[1:] for case in PERCENTS], ids=[case[0] for case in PERCENTS])
def test_percent(node: NodeView, percent: int) -> None:
    assert node_percent(node) == percent


def test_steps_lead_from_the_port_to_the_plans_last() -> None:
    steps = node_steps(view(NodePhase.CONFIGURING, plan=PLAN))
    assert [(step.name, step.state) for step in steps] == [
        ("port", StepState.DONE),
        ("server", StepState.DONE),
        ("boot", StepState.DONE),
        ("etcd", StepState.RUNNING),
    ]


def test_a_refusal_is_what_a_node_waits_for_first() -> None:
    refusal = Reason(code="QuotaExceeded", message="Quota exceeded")
    assert node_waiting(view(NodePhase.CREATING, refusal=refusal)) == refusal
    waiting = node_waiting(view(NodePhase.BOOTING))
    assert waiting is not None
    assert waiting.code == "WaitingForAgent"
    assert node_waiting(view(NodePhase.PROVISIONED)) is None


def test_exactly_one_step_of_the_shared_parts_is_at_hand() -> None:
    names = [name for name, _ in INFRASTRUCTURE_STEPS]
    for count in range(len(names) + 1):
        states = [step.state for step in infrastructure_steps(names[:count], START, None)]
        expected = [StepState.DONE] * count + [StepState.RUNNING] + [StepState.PENDING] * len(names)
        assert states == expected[: len(names)]
