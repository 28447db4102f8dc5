"""The plan of a worker: containerd and a kubelet that joins through the endpoint."""

from slipway_contracts.agent import File, HttpProbe, PlanStep
from slipway_provisioner.domain.pki import AuthorityName
from slipway_provisioner.domain.plans.kubelet import CLIENT, SERVING, kubelet_kubeconfig, start_kubelet
from slipway_provisioner.domain.plans.machine import prepare_machine
from slipway_provisioner.domain.plans.model import PKI, WAIT_FOR_OTHERS, PlanInputs, certificate
from slipway_provisioner.domain.plans.profiles import Profiles


def worker_steps(inputs: PlanInputs, profiles: Profiles) -> tuple[PlanStep, ...]:
    """Prepare and install while the control plane comes up, then join."""
    return (
        prepare_machine(inputs),
        PlanStep(name="install", title="Install Kubernetes", actions=(inputs.program("kubelet"),)),
        _certificates(inputs, profiles),
        _await_control_plane(inputs),
        start_kubelet(inputs),
    )


def _certificates(inputs: PlanInputs, profiles: Profiles) -> PlanStep:
    assert inputs.endpoint is not None
    kubeconfig = kubelet_kubeconfig(inputs, inputs.endpoint.url)
    actions = (
        File(path=f"{PKI}/ca.crt", content=inputs.keys.certificates[AuthorityName.KUBERNETES]),
        certificate(inputs, "kubelet", profiles["kubelet"], CLIENT, kubeconfig),
        certificate(inputs, "kubelet-serving", profiles["kubelet-serving"], SERVING),
    )
    return PlanStep(name="certificates", title="Get the kubelet's certificates", actions=actions)


def _await_control_plane(inputs: PlanInputs) -> PlanStep:
    assert inputs.endpoint is not None
    ready = HttpProbe(
        url=f"{inputs.endpoint.url}/readyz",
        ca_path=f"{PKI}/ca.crt",
        timeout=WAIT_FOR_OTHERS,
        waiting_code="WaitingForControlPlane",
        waiting="the cluster's Kubernetes API does not answer through its endpoint yet",
        for_others=True,
    )
    return PlanStep(name="control-plane-wait", title="Wait for the control plane", actions=(ready,))
