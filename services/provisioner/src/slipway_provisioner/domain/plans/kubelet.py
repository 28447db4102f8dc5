"""The kubelet's part of a plan, the same for controllers and workers.

It registers by itself with a client certificate that the provisioner signed: no bootstrap token, no CSR approval, no
rotation of its own (a rotation is a new plan).
"""

from typing import Any

import yaml

from slipway_contracts.agent import File, HttpProbe, PlanStep, Unit
from slipway_contracts.api import Eviction, Reserved
from slipway_contracts.values import Role
from slipway_provisioner.domain.kubernetes_nodes import NODE_LABEL, POOL_LABEL, may_register
from slipway_provisioner.domain.plans.machine import PREPARE_UNIT, RESOLV_CONF
from slipway_provisioner.domain.plans.model import (
    KUBELET_HEALTH_PORT,
    KUBERNETES,
    MANIFESTS,
    PKI,
    Kubeconfig,
    PlanInputs,
)
from slipway_provisioner.domain.plans.profiles import service_address
from slipway_provisioner.domain.plans.units import service_unit

UNIT = "kubelet.service"
CONFIG = "/etc/slipway/kubelet.yaml"
REGISTRATION = "/etc/slipway/kubelet-registration.env"
"""What the kubelet registers its Node with. Later changes are made to the Node itself, so no kubelet is restarted."""
ANEW = "/etc/slipway/kubelet.anew"
KUBECONFIG = f"{KUBERNETES}/kubelet.conf"
CLIENT = f"{PKI}/kubelet-client"
SERVING = f"{PKI}/kubelet"
CONTAINERD_SOCKET = "unix:///run/containerd/containerd.sock"

_EVICTION_HARD = {
    "memory_available": ("memory.available", "100Mi"),
    "nodefs_available": ("nodefs.available", "10%"),
    "nodefs_inodes_free": ("nodefs.inodesFree", "5%"),
    "imagefs_available": ("imagefs.available", "15%"),
}
"""Kubernetes' own thresholds: a kubelet that is given one of them takes all others for none.

https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#hard-eviction-thresholds
"""


def kubelet_kubeconfig(inputs: PlanInputs, server: str) -> Kubeconfig:
    """How this node's kubelet reaches the API."""
    return Kubeconfig(path=KUBECONFIG, server=server, user=f"system:node:{inputs.node.name}")


def start_kubelet(inputs: PlanInputs) -> PlanStep:
    """The kubelet runs and says of itself that it is healthy."""
    command = kubelet_command(inputs)
    after = ("containerd.service", PREPARE_UNIT)
    anew = _start_anew(inputs)
    unit = Unit(
        name=UNIT,
        content=service_unit("kubelet", command, after=after, environment=REGISTRATION),
        restart_on=(CONFIG, KUBECONFIG, f"{PKI}/ca.crt", f"{SERVING}.crt", *(file.path for file in anew)),
    )
    healthy = HttpProbe(
        url=f"http://127.0.0.1:{KUBELET_HEALTH_PORT}/healthz",
        timeout=300.0,
        waiting_code="WaitingForKubelet",
        waiting="the kubelet was started and is not healthy yet",
    )
    files = (
        File(path=CONFIG, content=kubelet_config(inputs)),
        File(path=REGISTRATION, content=kubelet_registration(inputs)),
    )
    actions = (*files, *anew, unit, healthy)
    return PlanStep(name="kubelet", title="Start the kubelet", actions=actions)


def _start_anew(inputs: PlanInputs) -> tuple[File, ...]:
    """A kubelet makes its Node object once, when it starts: a new date here starts it again."""
    asked_at = inputs.node.reregister_at
    return (File(path=ANEW, content=f"{asked_at.isoformat()}\n"),) if asked_at is not None else ()


def kubelet_command(inputs: PlanInputs) -> tuple[str, ...]:
    """The kubelet's command line: what is the node's own; the rest is in the configuration file."""
    return (
        inputs.program_path("kubelet"),
        f"--config={CONFIG}",
        f"--kubeconfig={KUBECONFIG}",
        f"--hostname-override={inputs.node.name}",
        f"--node-ip={inputs.address}",
        "--node-labels=${NODE_LABELS}",
        "--register-with-taints=${NODE_TAINTS}",
    )


def kubelet_registration(inputs: PlanInputs) -> str:
    """The variables that the command line names: labels and taints of the Node object when it is made."""
    labels = ",".join(f"{key}={value}" for key, value in sorted(registered_labels(inputs).items()))
    taints = ",".join(f"{taint.key}={taint.value}:{taint.effect}" for taint in inputs.taints)
    return f"NODE_LABELS={labels}\nNODE_TAINTS={taints}\n"


def registered_labels(inputs: PlanInputs) -> dict[str, str]:
    """The labels that the kubelet may give its own Node; all others are set from outside (see `may_register`)."""
    labels = {key: value for key, value in inputs.pool.labels.items() if may_register(key)}
    labels |= {POOL_LABEL: inputs.pool.name, NODE_LABEL: inputs.node.node_id}
    labels["topology.kubernetes.io/region"] = inputs.region
    if inputs.node.zone:
        labels["topology.kubernetes.io/zone"] = inputs.node.zone
    return labels


def kubelet_config(inputs: PlanInputs) -> str:
    """KubeletConfiguration, v1beta1."""
    machine = inputs.machine
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": inputs.cgroup_driver,
        "clusterDNS": [service_address(inputs.spec.service_cidr, 10)],
        "clusterDomain": inputs.spec.dns_domain,
        "containerRuntimeEndpoint": CONTAINERD_SOCKET,
        "failCgroupV1": machine.fail_cgroup_v1,
        "failSwapOn": machine.fail_swap_on,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": KUBELET_HEALTH_PORT,
        "maxParallelImagePulls": 4,
        "providerID": f"openstack:///{inputs.node.server_id}",
        "readOnlyPort": 0,
        "resolvConf": RESOLV_CONF,
        "rotateCertificates": False,
        "serializeImagePulls": False,
        "serverTLSBootstrap": False,
        "tlsCertFile": f"{SERVING}.crt",
        "tlsPrivateKeyFile": f"{SERVING}.key",
    }
    if inputs.node.role is Role.CONTROLLER:
        config["staticPodPath"] = MANIFESTS
    return yaml.safe_dump(config | _options(inputs), sort_keys=True)


def _options(inputs: PlanInputs) -> dict[str, Any]:
    """What the node spec says of kubelet and containers' logs; nothing where it says nothing."""
    kubelet, runtime = inputs.made_of.kubelet, inputs.made_of.runtime
    options = {
        "maxPods": kubelet.max_pods,
        "podPidsLimit": kubelet.pod_pids_limit,
        "systemReserved": _reserved(kubelet.system_reserved),
        "kubeReserved": _reserved(kubelet.kube_reserved),
        "evictionHard": _eviction(kubelet.eviction_hard),
        "containerLogMaxSize": f"{runtime.log_max_size}Mi" if runtime.log_max_size else None,
        "containerLogMaxFiles": runtime.log_max_files,
    }
    return {key: value for key, value in options.items() if value}


def _reserved(reserved: Reserved) -> dict[str, str]:
    return {key.replace("_", "-"): value for key, value in reserved.model_dump(exclude_none=True).items()}


def _eviction(eviction: Eviction) -> dict[str, str]:
    asked = eviction.model_dump(exclude_none=True)
    return {signal: asked.get(name, usual) for name, (signal, usual) in _EVICTION_HARD.items()} if asked else {}
