"""How far an operation is, step by step, and whose move it is: pure, from the same facts that decide.

An operation is done when everything is: "done" means generation equal, so it is only judged by the newest spec.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from slipway_contracts.addon_manager import AddonPhase, AddonState
from slipway_contracts.api import ClusterSpec, OperationKind, PoolSpec
from slipway_contracts.healer import Gate, Refusal
from slipway_contracts.operations import Operation, OperationState
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodePhase, Step, StepState
from slipway_contracts.values import Mover, Reason, Role
from slipway_healer.domain.model import Node

TITLES = {Role.ETCD: "etcd", Role.CONTROLLER: "Control plane", Role.WORKER: "Workers"}
WEIGHTS = {"infrastructure": 10, "etcd": 20, "controller": 25, "worker": 35, "addons": 10, "nodes": 70, "resources": 30}
PERSONS = (Mover.USER, Mover.OPERATOR)
DEFAULT_ADDONS = ("rbac", "kube-proxy", "flannel", "coredns")


@dataclass(frozen=True)
class Picture:
    """All that progress is measured by."""

    spec: ClusterSpec
    nodes: Sequence[Node]
    infrastructure: ClusterInfrastructure | None
    addons: Mapping[str, AddonState]
    refusals: Sequence[Refusal] = ()
    deleted: bool = False
    wanted_addons: Sequence[str] = DEFAULT_ADDONS


@dataclass(frozen=True)
class _Part:
    """One step, how much of it is done (0 to 1), and what it waits for."""

    name: str
    title: str
    done: float
    message: str | None = None
    causes: tuple[Reason, ...] = field(default=())


def kind_of(spec: ClusterSpec, before: ClusterSpec | None) -> OperationKind:
    """What the user asked for with this generation."""
    if spec.deletion_requested_at is not None:
        return OperationKind.DELETE_CLUSTER
    if before is None:
        return OperationKind.CREATE_CLUSTER if spec.generation == 1 else OperationKind.UPDATE_CLUSTER
    counts = {pool.pool_id: pool.count for pool in before.pools}
    scaled = counts != {pool.pool_id: pool.count for pool in spec.pools}
    return OperationKind.SCALE_POOL if scaled else OperationKind.UPDATE_CLUSTER


def begun(spec: ClusterSpec, kind: OperationKind, now: datetime) -> Operation:
    """A new operation."""
    return Operation(
        operation_id=spec.operation_id,
        cluster_id=spec.cluster_id,
        kind=kind,
        generation=spec.generation,
        state=OperationState.RUNNING,
        percent=0,
        started_at=now,
    )


def advanced(operation: Operation, picture: Picture, now: datetime) -> Operation:
    """The operation as the picture shows it; its percentage never falls."""
    parts = _parts(operation.kind, picture)
    done = all(part.done >= 1 for part in parts)
    weight = sum(WEIGHTS[part.name] for part in parts)
    percent = int(sum(WEIGHTS[part.name] * part.done for part in parts) * 100 / weight)
    causes = [*_refused(picture), *(cause for part in parts for cause in part.causes)]
    blocking = next((cause for cause in causes if cause.whose_move in PERSONS), None)
    state = OperationState.BLOCKED if blocking is not None else OperationState.RUNNING
    return operation.model_copy(
        update={
            "state": OperationState.SUCCEEDED if done else state,
            "percent": 100 if done else max(operation.percent, min(percent, 99)),
            "steps": tuple(_step(part, operation, now) for part in parts),
            "cause": None if done else blocking or next(iter(causes), None),
            "finished_at": now if done else None,
        }
    )


def superseded(operation: Operation, now: datetime) -> Operation:
    """The end of an operation whose cluster is being deleted."""
    cause = Reason(
        code="ClusterDeletionRequested", message="The cluster's deletion was requested.", whose_move=Mover.NOBODY
    )
    return operation.model_copy(update={"state": OperationState.FAILED, "cause": cause, "finished_at": now})


def is_settled(node: Node, pool: PoolSpec) -> bool:
    """Whether the node is there, of the pool's spec, works, and has applied its newest plan."""
    report = node.accepted
    return (
        report is not None
        and node.is_ready
        and node.spec == pool.node_spec
        and report.row.spec == node.spec
        and report.row.update >= node.update
        and report.phase is NodePhase.PROVISIONED
        and report.applied_revision >= report.plan_revision
    )


def _parts(kind: OperationKind, picture: Picture) -> list[_Part]:
    if kind is OperationKind.DELETE_CLUSTER:
        return _deletion(picture)
    roles = [_role(role, picture) for role in TITLES if picture.spec.pools_of(role)]
    if kind is OperationKind.CREATE_CLUSTER:
        return [_infrastructure(picture), *roles, _addons(picture)]
    return [*roles, _addons(picture)]


def _infrastructure(picture: Picture) -> _Part:
    title = "Network, endpoint and keys"
    infrastructure = picture.infrastructure
    if infrastructure is None:
        return _Part("infrastructure", title, 0.0)
    done = {
        InfrastructurePhase.PENDING: 0.0,
        InfrastructurePhase.BUILDING: 0.2,
        InfrastructurePhase.READY: 0.7,
        InfrastructurePhase.AVAILABLE: 1.0,
    }.get(infrastructure.phase, 0.0)
    waiting = infrastructure.waiting
    return _Part("infrastructure", title, done, waiting.message if waiting else None, (waiting,) if waiting else ())


def _role(role: Role, picture: Picture) -> _Part:
    pools = {pool.pool_id: pool for pool in picture.spec.pools_of(role)}
    target = sum(pool.count for pool in pools.values())
    nodes = [node for node in picture.nodes if node.role is role]
    present = [node for node in nodes if node.is_present and node.pool_id in pools]
    settled = [node for node in present if is_settled(node, pools[node.pool_id])]
    leaving = len(nodes) - len(present)
    counts_right = all(sum(n.pool_id == each for n in present) == pool.count for each, pool in pools.items())
    complete = counts_right and len(settled) == len(present) and not leaving
    share = sum(1.0 if node in settled else _share(node) for node in present) + 0.0
    done = 1.0 if complete else min(0.99, share / max(target + leaving, len(present) + leaving, 1))
    causes = [cause for node in present if node not in settled and (cause := _cause(node)) is not None]
    return _Part(role.value, TITLES[role], done, _sentence(len(settled), target, leaving, present), tuple(causes))


def _sentence(settled: int, target: int, leaving: int, present: Sequence[Node]) -> str:
    words = f"{settled} of {target} ready"
    if leaving:
        words += f", {leaving} leaving"
    waiting = next((f"{node.name}: {cause.message}" for node in present if (cause := _cause(node)) is not None), None)
    return words if waiting is None else f"{words}; {waiting}"


def _share(node: Node) -> float:
    return min(0.9, node.report.percent / 100 * 0.9) if node.accepted is not None and node.report is not None else 0.0


def _cause(node: Node) -> Reason | None:
    report = node.accepted
    return None if report is None else report.cause or report.waiting


def _addons(picture: Picture) -> _Part:
    installed = [name for name in picture.wanted_addons if _is_installed(picture.addons.get(name))]
    known = [picture.addons[name] for name in picture.wanted_addons if name in picture.addons]
    causes = [state.reason for state in known if state.reason is not None and state.addon not in installed]
    share = len(installed) / len(picture.wanted_addons) if picture.wanted_addons else 1.0
    return _Part(
        "addons", "Addons", share, f"{len(installed)} of {len(picture.wanted_addons)} installed", tuple(causes)
    )


def _is_installed(state: AddonState | None) -> bool:
    return state is not None and state.phase is AddonPhase.INSTALLED


def _deletion(picture: Picture) -> list[_Part]:
    if picture.deleted:
        return [_Part("nodes", "Remove the nodes", 1.0), _Part("resources", "Remove network and endpoint", 1.0)]
    left = len(picture.nodes)
    ever = max(left, sum(pool.count for pool in picture.spec.pools), 1)
    infrastructure = picture.infrastructure
    remaining = infrastructure.remaining if infrastructure is not None else ()
    causes = [each.reason for each in remaining if each.reason is not None]
    if infrastructure is not None and infrastructure.waiting is not None:
        causes.append(infrastructure.waiting)
    words = f"{len(remaining)} resources left" if remaining else None
    return [
        _Part("nodes", "Remove the nodes", 1 - left / ever, f"{left} nodes left" if left else None),
        _Part("resources", "Remove network and endpoint", 0.0, words, tuple(causes)),
    ]


def _refused(picture: Picture) -> list[Reason]:
    # what only lacks a witness or time is ordinary healing, and no obstacle to the operation
    ordinary = (Gate.WITNESSES, Gate.PATIENCE)
    return [refusal.reason for refusal in picture.refusals if refusal.gate not in ordinary]


def _step(part: _Part, operation: Operation, now: datetime) -> Step:
    state = StepState.DONE if part.done >= 1 else StepState.RUNNING if part.done > 0 else StepState.PENDING
    if state is not StepState.DONE and any(cause.whose_move in PERSONS for cause in part.causes):
        state = StepState.WAITING
    before = next((step for step in operation.steps if step.name == part.name), None)
    since = before.since if before is not None and before.state is state else now
    return Step(name=part.name, title=part.title, state=state, since=since, message=part.message)
