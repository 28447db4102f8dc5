"""The state of a cluster and of a node in one word: the full product of what can be known."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from slipway_api.domain.states import (
    ClusterFacts,
    ClusterState,
    NodeFacts,
    NodeStatus,
    OperationStatus,
    decide_condition,
    decide_node_reason,
    decide_node_status,
)
from slipway_contracts.api import ClusterSpec, NodeSpec, PoolSpec
from slipway_contracts.healer import NodeRow, Wanted
from slipway_contracts.monitor import ClusterHealth, NodeHealth, Verdict, Witness, WitnessName
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodePhase, NodeState
from slipway_contracts.values import Reason, Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MACHINE = NodeSpec(name="w", version=1, image_id="i", flavor_id="f", network_id="n")
CAUSE = Reason(code="Cause", message="Because.")


def a_spec(*, deleting: bool = False, count: int = 1) -> ClusterSpec:
    pool = PoolSpec(pool_id="p", name="worker", role=Role.WORKER, count=count, node_spec=MACHINE)
    return ClusterSpec(
        cluster_id="c", name="shop", project_id="x", region="r", generation=1, operation_id="o", created_at=NOW,
        deletion_requested_at=NOW if deleting else None, release="v1.36.3", network_id="n", pools=(pool,),
    )  # fmt: skip


def a_row(*, wanted: Wanted = Wanted.PRESENT, incarnation: int = 1, reason: Reason | None = None) -> NodeRow:
    return NodeRow(
        node_id="n", name="shop-worker-1", pool_id="p", role=Role.WORKER, spec=MACHINE, wanted=wanted,
        incarnation=incarnation, reason=reason, decided_at=NOW, valid_until=NOW,
    )  # fmt: skip


def a_node(
    phase: NodePhase | None = NodePhase.PROVISIONED,
    verdict: Verdict | None = Verdict.HEALTHY,
    *,
    wanted: Wanted = Wanted.PRESENT,
    seen: int = 1,
    cause: Reason | None = None,
) -> NodeFacts:
    row = a_row(wanted=wanted)
    state = None
    if phase is not None:
        state = NodeState(
            cluster_id="c", pool_id="p", node_id="n", row=row, phase=phase, since=NOW, created_at=NOW, cause=cause
        )
    health = None
    if verdict is not None:
        witness = Witness(name=WitnessName.AGENT, verdict=verdict, saw="silence for 60 s", since=NOW, at=NOW)
        health = NodeHealth(
            cluster_id="c", pool_id="p", node_id="n", incarnation=seen, verdict=verdict, since=NOW, witnesses=(witness,)
        )
    return NodeFacts(row, state, health)


def an_infrastructure(phase: InfrastructurePhase | None) -> ClusterInfrastructure | None:
    return None if phase is None else ClusterInfrastructure(cluster_id="c", phase=phase, since=NOW)


def expected(  # the same rules once more, as a reader would say them
    *,
    deleted: bool,
    deleting: bool,
    operation: OperationState | None,
    phase: InfrastructurePhase | None,
    healthy: bool,
) -> ClusterState:
    if deleted:
        return ClusterState.DELETED
    if deleting:
        return ClusterState.DELETING
    if operation in (None, OperationState.RUNNING):
        return ClusterState.UPDATING if phase is InfrastructurePhase.AVAILABLE else ClusterState.CREATING
    if operation is OperationState.BLOCKED:
        return ClusterState.BLOCKED
    if operation is OperationState.FAILED or not healthy:
        return ClusterState.DEGRADED
    return ClusterState.READY


def test_every_combination_has_one_state_and_a_reason_where_one_is_known() -> None:
    seen: set[ClusterState] = set()
    for deleted, deleting, operation, phase, healthy in product(
        (False, True), (False, True), (None, *OperationState), (None, *InfrastructurePhase), (False, True)
    ):
        status = None if operation is None else OperationStatus(operation, 50, CAUSE)
        facts = ClusterFacts(
            a_spec(deleting=deleting), status, an_infrastructure(phase),
            nodes=[a_node(verdict=Verdict.HEALTHY if healthy else Verdict.UNHEALTHY)], deleted=deleted,
        )  # fmt: skip
        condition = decide_condition(facts)
        assert condition.state is expected(
            deleted=deleted, deleting=deleting, operation=operation, phase=phase, healthy=healthy
        )
        if condition.state in (ClusterState.BLOCKED, ClusterState.DEGRADED):
            assert condition.reason is not None
        seen.add(condition.state)
    assert seen == set(ClusterState)


def test_a_cluster_whose_api_is_unhealthy_is_degraded_although_its_nodes_are_ready() -> None:
    health = ClusterHealth(cluster_id="c", verdict=Verdict.UNHEALTHY, since=NOW, reasons=(CAUSE,))
    facts = ClusterFacts(a_spec(), OperationStatus(OperationState.SUCCEEDED), health=health, nodes=[a_node()])
    assert (decide_condition(facts).state, decide_condition(facts).reason) == (ClusterState.DEGRADED, CAUSE)


def test_every_phase_of_a_node_is_a_word() -> None:
    for phase, verdict, wanted in product((None, *NodePhase), (None, *Verdict), Wanted):
        status = decide_node_status(a_node(phase, verdict, wanted=wanted))
        assert (status is NodeStatus.READY) == (
            phase is NodePhase.PROVISIONED and verdict is Verdict.HEALTHY and wanted is Wanted.PRESENT
        )


@pytest.mark.parametrize(
    ("node", "status"),
    [
        pytest.param(a_node(None, None), NodeStatus.PENDING, id="only named"),
        pytest.param(a_node(NodePhase.BOOTING, None), NodeStatus.BOOTING, id="on its way"),
        pytest.param(a_node(NodePhase.PROVISIONED, None), NodeStatus.JOINING, id="nobody has seen it yet"),
        pytest.param(a_node(NodePhase.PROVISIONED, Verdict.HEALTHY, seen=2), NodeStatus.JOINING, id="another server"),
        pytest.param(a_node(NodePhase.PROVISIONED, Verdict.UNKNOWN), NodeStatus.UNKNOWN, id="nobody can tell"),
        pytest.param(a_node(wanted=Wanted.REMOVED), NodeStatus.LEAVING, id="well, and to be removed"),
        pytest.param(a_node(NodePhase.DRAINING, wanted=Wanted.REMOVED), NodeStatus.DRAINING, id="being drained"),
    ],
)
def test_a_node_has_the_state_that_matters_most(node: NodeFacts, status: NodeStatus) -> None:
    assert decide_node_status(node) is status


def test_the_reason_of_a_node_is_the_first_that_anybody_names() -> None:
    assert decide_node_reason(a_node(NodePhase.FAILED, Verdict.UNHEALTHY, cause=CAUSE)) == CAUSE
    saw = decide_node_reason(a_node(NodePhase.PROVISIONED, Verdict.UNHEALTHY))
    assert saw is not None
    assert saw.message == "silence for 60 s"
    assert decide_node_reason(a_node()) is None


def test_what_was_said_of_a_lost_server_is_not_said_of_the_next_one() -> None:
    gone = Reason(code="ServerGone", message="The server does not exist.")
    anew = replace(a_node(NodePhase.BOOTING, Verdict.UNHEALTHY), row=a_row(incarnation=2, reason=gone))
    assert decide_node_reason(anew) == Reason(code="ServerGone", message="Its predecessor: The server does not exist.")
    sick = replace(a_node(NodePhase.PROVISIONED, Verdict.UNHEALTHY, seen=2), row=anew.row)
    assert decide_node_reason(sick) == Reason(code="NodeUnhealthy", message="silence for 60 s")
    leaving = replace(sick, row=a_row(wanted=Wanted.REMOVED, reason=gone))
    assert decide_node_reason(leaving) == gone


def test_a_node_that_is_made_says_why() -> None:
    missing = Reason(code="BelowTarget", message="The pool should have 3 nodes.")
    made = replace(a_node(NodePhase.BOOTING, None), row=a_row(reason=missing))
    assert decide_node_reason(made) == missing
