"""Whether a plan can be rendered yet, and the plan. Pure: the same inputs give the same plan."""

from slipway_chassis.skew import decide_skew
from slipway_contracts.values import Mover, Reason, Role
from slipway_provisioner.domain.plans.controller import controller_steps
from slipway_provisioner.domain.plans.etcd import etcd_steps
from slipway_provisioner.domain.plans.model import PlanInputs, RenderedPlan
from slipway_provisioner.domain.plans.profiles import decide_profiles
from slipway_provisioner.domain.plans.worker import worker_steps

_STEPS = {Role.ETCD: etcd_steps, Role.CONTROLLER: controller_steps, Role.WORKER: worker_steps}


def decide_plan(inputs: PlanInputs) -> RenderedPlan | Reason:
    """The plan, or the reason why it must wait: an address or the server that it names is not known yet."""
    reason = decide_wait(inputs)
    return render_plan(inputs) if reason is None else reason


def decide_wait(inputs: PlanInputs) -> Reason | None:
    """What the node's plan waits for."""
    role = inputs.node.role
    if inputs.node.address is None:
        return _waiting("WaitingForAddress", "the node's port has no address yet")
    if role is not Role.ETCD and inputs.node.server_id is None:
        return _waiting("WaitingForServer", "the node's server is not made yet")
    if role in (Role.ETCD, Role.CONTROLLER):
        if not inputs.etcd:
            return _waiting("WaitingForEtcdNodes", "the cluster's etcd nodes are not named yet")
        missing = sorted(member.name for member in inputs.etcd if member.address is None)
        if missing:
            return _waiting("WaitingForEtcdAddresses", f"these etcd nodes have no address yet: {', '.join(missing)}")
    if role is Role.ETCD and inputs.seat is None:
        return _waiting(
            "WaitingForEtcdMembership", "another member has to make room for it in etcd first", Mover.NOBODY
        )
    if role is not Role.ETCD and inputs.endpoint is None:
        return _waiting("WaitingForEndpoint", "the cluster's endpoint has no address yet")
    return _skew(inputs) if role is Role.CONTROLLER else None


def _skew(inputs: PlanInputs) -> Reason | None:
    """An API server of the cluster's release must be one that the nodes' kubelets may have."""
    release, name = inputs.release, inputs.spec.release
    problems = decide_skew(name, release, kubelets=inputs.kubelets, kubeadm=name, etcd=release.etcd_version)
    return _waiting("ReleaseSkew", "; ".join(problems), Mover.OPERATOR) if problems else None


def render_plan(inputs: PlanInputs) -> RenderedPlan:
    """The plan of a node that waits for nothing (see decide_wait)."""
    profiles = decide_profiles(inputs)
    return RenderedPlan(_STEPS[inputs.node.role](inputs, profiles), profiles)


def _waiting(code: str, message: str, whose_move: Mover = Mover.CLOUD) -> Reason:
    return Reason(code=code, message=message, whose_move=whose_move)
