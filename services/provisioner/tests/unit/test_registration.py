"""A kubelet makes its Node object once: who has to start anew, and how its plan says so."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from slipway_contracts.agent import Unit
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_contracts.values import Role
from slipway_provisioner.domain.kubernetes_nodes import REGISTRATION_TAKES, missing
from slipway_provisioner.domain.plans.kubelet import ANEW
from slipway_provisioner.domain.plans.render import render_plan
from slipway_provisioner.domain.plans.testing import STARTED_AT, plan_inputs

LATER = STARTED_AT + REGISTRATION_TAKES
SOON = LATER - timedelta(seconds=1)


@dataclass
class Node:
    node_id: str = "node-1"
    name: str = "blue-1"
    phase: str = NodePhase.PROVISIONED
    since: datetime = STARTED_AT
    server_state: str = ServerState.ACTIVE
    reregister_at: datetime | None = None


@pytest.mark.parametrize(
    ("node", "names", "now", "is_missing"),
    [
        pytest.param(Node(), set(), LATER, True, id="one without its object"),
        pytest.param(Node(), {"blue-1"}, LATER, False, id="one with its object"),
        pytest.param(Node(), set(), SOON, False, id="one that may still come"),
        pytest.param(Node(reregister_at=SOON), set(), LATER, False, id="one that was just told"),
        pytest.param(Node(phase=NodePhase.CONFIGURING), set(), LATER, False, id="one whose plan is not applied"),
        pytest.param(Node(server_state=ServerState.GONE), set(), LATER, False, id="one without a server"),
    ],
)
def test_a_node_that_runs_has_a_node_object(node: Node, names: set[str], now: datetime, is_missing: bool) -> None:
    assert missing([node], names, now) == (["node-1"] if is_missing else [])


def test_a_kubelet_that_has_to_register_again_is_restarted_and_no_other() -> None:
    def kubelet(asked_at: datetime | None) -> Unit:
        inputs = plan_inputs(Role.CONTROLLER)
        steps = render_plan(replace(inputs, node=replace(inputs.node, reregister_at=asked_at))).steps
        units = [action for step in steps for action in step.actions if isinstance(action, Unit)]
        return next(unit for unit in units if unit.name == "kubelet.service")

    before, after = kubelet(None), kubelet(STARTED_AT)
    assert before.content == after.content
    assert set(after.restart_on) - set(before.restart_on) == {ANEW}
