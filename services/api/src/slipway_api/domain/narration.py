"""One sentence for each event, as a user reads it in a stream."""

from typing import Any

from slipway_contracts.addon_manager import AddonState
from slipway_contracts.api import ClusterSpec
from slipway_contracts.envelope import Body, Event
from slipway_contracts.healer import ClusterHold, NodeTable, PoolRefusals, Wanted
from slipway_contracts.monitor import Alert, ClusterHealth, EtcdMembership, NodeHealth, Verdict
from slipway_contracts.operations import Operation
from slipway_contracts.provisioner import ClusterInfrastructure, NodePhase, NodeState, Step, StepState


def short_type(event: Event[Any]) -> str:
    """`node.created` of `slipway.node.created.v1`."""
    return event.type.removeprefix("slipway.").rpartition(".")[0]


def narrate(body: Body, names: dict[str, str], *, ended: bool = False) -> str:
    """What the state of a subject now is, or was when it ended; `names` are those of pools and nodes by their ids."""
    if ended and isinstance(body, NodeHealth):
        return f"Node {names.get(body.node_id, body.node_id)} is watched no more"
    if ended and isinstance(body, ClusterHealth):
        return "Cluster is watched no more"
    if isinstance(body, NodeState):
        return _node(body)
    if isinstance(body, Operation):
        return _operation(body)
    if isinstance(body, ClusterInfrastructure):
        return _infrastructure(body)
    if isinstance(body, NodeTable):
        return _table(body, names)
    if isinstance(body, NodeHealth):
        return _health(body, names)
    if isinstance(body, EtcdMembership):
        return "Etcd is watched no more" if ended else _etcd(body, names)
    return _other(body, names)


def _node(body: NodeState) -> str:
    reason = body.cause or body.waiting
    what = body.phase.value
    step = current_step(body.steps)
    if body.phase is NodePhase.REMOVED:
        return f"Node {body.row.name} is {what}"
    if step is not None and reason is None:
        what = f"{what}: {step.title}"
    elif reason is not None:
        what = f"{what}: {reason.message}"
    return f"Node {body.row.name} is {what}"


def current_step(steps: tuple[Step, ...]) -> Step | None:
    """The step that is being taken, or that failed or waits."""
    return next((step for step in steps if step.state not in (StepState.DONE, StepState.PENDING)), None)


def _operation(body: Operation) -> str:
    what = body.kind.value.replace("_", " ")
    cause = f": {body.cause.message}" if body.cause is not None else ""
    return f"Operation {what} is {body.state.value} at {body.percent} %{cause}"


def _infrastructure(body: ClusterInfrastructure) -> str:
    step = current_step(body.steps)
    if body.waiting is not None:
        return f"Infrastructure is {body.phase.value}: {body.waiting.message}"
    if step is not None:
        return f"Infrastructure is {body.phase.value}: {step.title}"
    return f"Infrastructure is {body.phase.value}"


def _table(body: NodeTable, names: dict[str, str]) -> str:
    present = sum(1 for row in body.nodes if row.wanted is Wanted.PRESENT)
    leaving = len(body.nodes) - present
    tail = f", {leaving} to be removed" if leaving else ""
    return f"Pool {names.get(body.pool_id, body.pool_id)}: {present} of {body.target} nodes named{tail}"


def _health(body: NodeHealth, names: dict[str, str]) -> str:
    saw = next((each.saw for each in body.witnesses if each.verdict is Verdict.UNHEALTHY), None)
    return f"Node {names.get(body.node_id, body.node_id)} is {body.verdict.value}" + (f": {saw}" if saw else "")


def _etcd(body: EtcdMembership, names: dict[str, str]) -> str:
    ill = [names.get(each.node_id or "", each.name or each.peer_url) for each in body.voters if not each.healthy]
    parts = [f"Etcd has {len(body.voters)} member{'s' if len(body.voters) != 1 else ''}"]
    parts += [f"{len(body.learners)} on the way"] if body.learners else []
    parts += [f"not well: {', '.join(ill)}"] if ill else []
    return "; ".join(parts)


def _other(body: Any, names: dict[str, str]) -> str:
    if isinstance(body, ClusterHealth):
        why = f": {body.reasons[0].message}" if body.reasons else ""
        return f"Cluster is {body.verdict.value}, {body.nodes_ready} of {body.nodes_total} nodes ready{why}"
    if isinstance(body, PoolRefusals):
        pool = names.get(body.pool_id, body.pool_id)
        if not body.refusals:
            return f"Pool {pool}: nothing stands in the way of healing"
        return f"Pool {pool}: healing is held back: {body.refusals[0].reason.message}"
    if isinstance(body, AddonState):
        why = f": {body.reason.message}" if body.reason else ""
        return f"Addon {body.addon} is {body.phase.value}{why}"
    if isinstance(body, Alert):
        return f"Alert {body.name.value} {'resolved' if body.resolved_at else 'raised'}: {body.message}"
    if isinstance(body, ClusterHold):
        return f"Hold is {body.hold.value}"
    if isinstance(body, ClusterSpec):
        if body.deletion_requested_at is not None:
            return f"Cluster {body.name} is to be deleted"
        return f"Cluster {body.name} is wanted as of generation {body.generation}"
    return type(body).__name__
