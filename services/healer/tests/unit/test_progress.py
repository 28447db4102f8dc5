"""How far an operation is, and whose move it is."""

from datetime import timedelta

import pytest

from slipway_contracts.addon_manager import AddonPhase, AddonState
from slipway_contracts.api import OperationKind
from slipway_contracts.healer import Gate, Refusal, Wanted
from slipway_contracts.operations import Operation, OperationState
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodePhase, Remainder, StepState
from slipway_contracts.testing import a_cluster_spec, a_node_spec, a_pool_spec
from slipway_contracts.values import Mover, Reason, Role
from slipway_healer.domain.progress import DEFAULT_ADDONS, Picture, advanced, begun, is_settled, kind_of, superseded
from slipway_healer.testing import BEGIN, a_node, a_well_node, reported

QUOTA = Reason(code="QuotaExceeded", message="The project's quota of cores is used up.", whose_move=Mover.USER)
COMPLETE = (a_well_node("e1", Role.ETCD), a_well_node("c1", Role.CONTROLLER), a_well_node("w1"))
INSTALLED = {
    name: AddonState(cluster_id="c1", addon=name, phase=AddonPhase.INSTALLED, since=BEGIN, wanted_version="1")
    for name in DEFAULT_ADDONS
}


def infrastructure(phase: InfrastructurePhase, **more: object) -> ClusterInfrastructure:
    return ClusterInfrastructure(cluster_id="c1", phase=phase, since=BEGIN, **more)  # type: ignore[arg-type]


def picture(**changes: object) -> Picture:
    values = {
        "spec": a_cluster_spec(),
        "nodes": COMPLETE,
        "infrastructure": infrastructure(InfrastructurePhase.AVAILABLE),
        "addons": INSTALLED,
    }
    return Picture(**values | changes)  # type: ignore[arg-type]


def creating(seen: Picture, before: Operation | None = None) -> Operation:
    return advanced(before or begun(seen.spec, OperationKind.CREATE_CLUSTER, BEGIN), seen, BEGIN)


def waiting_worker(reason: Reason) -> tuple[object, ...]:
    return (
        *COMPLETE[:2],
        reported(a_node("w1"), phase=NodePhase.CREATING, active_at=None, joined_at=None, waiting=reason, percent=20),
    )


def test_a_create_is_done_when_everything_is() -> None:
    operation = creating(picture())
    assert (operation.state, operation.percent, operation.cause) == (OperationState.SUCCEEDED, 100, None)
    assert operation.finished_at == BEGIN
    assert all(step.state is StepState.DONE for step in operation.steps)


@pytest.mark.parametrize(
    "lacking",
    [
        {"infrastructure": None},
        {"infrastructure": infrastructure(InfrastructurePhase.READY)},
        {"addons": {}},
        {"nodes": COMPLETE[:2]},
        {"nodes": (*COMPLETE[:2], reported(a_node("w1")))},
        {"nodes": (*COMPLETE, a_well_node("w2", wanted=Wanted.REMOVED))},
        {"nodes": (*COMPLETE, a_well_node("w2"))},
        {"nodes": (*COMPLETE[:2], a_well_node("w1", spec=a_node_spec(version=9)))},
    ],
    ids=[
        "no endpoint",
        "no answering API",
        "no addons",
        "a node missing",
        "a node not seen ready",
        "a node leaving",
        "a node too many",
        "a node of another spec",
    ],
)
def test_a_create_is_not_done_with(lacking: dict[str, object]) -> None:
    operation = creating(picture(**lacking))
    assert operation.state is OperationState.RUNNING
    assert 0 < operation.percent < 100


def test_a_node_is_settled_only_with_its_newest_plan() -> None:
    pool = a_pool_spec(Role.WORKER, 1)
    assert is_settled(a_well_node("w1"), pool)
    older = a_well_node("w1")
    assert older.report is not None
    behind = older.report.model_copy(update={"plan_revision": 2})
    assert not is_settled(reported(older, plan_revision=behind.plan_revision), pool)


def test_an_operation_that_waits_for_a_person_is_blocked_with_the_cause_and_runs_again_after() -> None:
    blocked = creating(picture(nodes=waiting_worker(QUOTA)))
    assert (blocked.state, blocked.cause) == (OperationState.BLOCKED, QUOTA)
    (workers,) = [step for step in blocked.steps if step.name == "worker"]
    assert workers.state is StepState.WAITING
    assert workers.message == f"0 of 1 ready; w1: {QUOTA.message}"
    building = Reason(code="WaitingForBuild", message="The cloud builds the server.", whose_move=Mover.CLOUD)
    running = creating(picture(nodes=waiting_worker(building)), blocked)
    assert (running.state, running.cause) == (OperationState.RUNNING, building)


@pytest.mark.parametrize(
    ("gate", "state"), [(Gate.RETRY_CAP, OperationState.BLOCKED), (Gate.PATIENCE, OperationState.RUNNING)]
)
def test_a_quarantine_blocks_and_patience_does_not(gate: Gate, state: OperationState) -> None:
    reason = Reason(code="ServerBuildFailed", message="Three attempts failed.", whose_move=Mover.OPERATOR)
    refusal = Refusal(gate=gate, reason=reason, look_again_at=BEGIN)
    assert creating(picture(nodes=COMPLETE[:2], refusals=[refusal])).state is state


def test_the_percentage_never_falls_and_steps_keep_their_time() -> None:
    first = creating(picture(nodes=COMPLETE[:2]))
    later = BEGIN + timedelta(minutes=1)
    second = advanced(first, picture(nodes=(), infrastructure=None), later)
    assert second.percent == first.percent
    since = {step.name: step.since for step in second.steps}
    assert since["addons"] == BEGIN
    assert since["infrastructure"] == later


def test_a_scale_needs_neither_endpoint_nor_a_look_at_it() -> None:
    seen = picture(infrastructure=None)
    operation = advanced(begun(seen.spec, OperationKind.SCALE_POOL, BEGIN), seen, BEGIN)
    assert operation.state is OperationState.SUCCEEDED


def test_a_deletion_counts_nodes_and_names_what_is_left() -> None:
    spec = a_cluster_spec(deletion_requested_at=BEGIN)
    stuck = Reason(code="LoadBalancerImmutable", message="The load balancer is busy.", whose_move=Mover.CLOUD)
    remaining = (Remainder(kind="load_balancer", cloud_id="lb-1", name="slipway-demo", reason=stuck),)
    deleting = infrastructure(InfrastructurePhase.DELETING, remaining=remaining)
    operation = begun(spec, OperationKind.DELETE_CLUSTER, BEGIN)
    operation = advanced(operation, picture(spec=spec, nodes=COMPLETE[:1], infrastructure=deleting), BEGIN)
    assert (operation.state, operation.cause) == (OperationState.RUNNING, stuck)
    assert operation.percent == 46
    assert operation.steps[0].message == "1 nodes left"
    done = advanced(operation, picture(spec=spec, nodes=(), deleted=True), BEGIN)
    assert (done.state, done.percent) == (OperationState.SUCCEEDED, 100)


def test_a_deletion_ends_what_was_running() -> None:
    ended = superseded(begun(a_cluster_spec(), OperationKind.CREATE_CLUSTER, BEGIN), BEGIN)
    assert ended.state is OperationState.FAILED
    assert ended.cause is not None
    assert ended.cause.code == "ClusterDeletionRequested"


@pytest.mark.parametrize(
    ("spec", "before", "kind"),
    [
        (a_cluster_spec(), None, OperationKind.CREATE_CLUSTER),
        (a_cluster_spec(generation=4), None, OperationKind.UPDATE_CLUSTER),
        (a_cluster_spec(generation=2), a_cluster_spec(), OperationKind.UPDATE_CLUSTER),
        (
            a_cluster_spec(generation=2, pools=[a_pool_spec(Role.WORKER, 5)]),
            a_cluster_spec(pools=[a_pool_spec(Role.WORKER, 3)]),
            OperationKind.SCALE_POOL,
        ),
        (a_cluster_spec(deletion_requested_at=BEGIN), a_cluster_spec(), OperationKind.DELETE_CLUSTER),
    ],
)
def test_what_a_generation_asks_for(spec: object, before: object, kind: OperationKind) -> None:
    assert kind_of(spec, before) is kind  # type: ignore[arg-type]
