"""kubeadm's configuration (v1beta4) for `init phase control-plane`.

https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/
"""

import math
from typing import Any

import yaml

from slipway_provisioner.domain.plans.kubelet import CONTAINERD_SOCKET
from slipway_provisioner.domain.plans.model import API_SERVER_PORT, PKI, Endpoint, PlanInputs
from slipway_provisioner.domain.plans.profiles import decide_profiles

CONFIG = "/etc/slipway/kubeadm.yaml"
ENCRYPTION = f"{PKI}/encryption.json"
"""In the folder that kubeadm mounts into the API server anyway."""


def kubeadm_config(inputs: PlanInputs) -> str:
    """InitConfiguration and ClusterConfiguration of this node."""
    return yaml.safe_dump_all([_init(inputs), _cluster(inputs)], sort_keys=False)


def _init(inputs: PlanInputs) -> dict[str, Any]:
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": inputs.address, "bindPort": API_SERVER_PORT},
        "nodeRegistration": {"name": inputs.node.name, "criSocket": CONTAINERD_SOCKET},
    }


def _cluster(inputs: PlanInputs) -> dict[str, Any]:
    assert inputs.endpoint is not None
    spec, api_server = inputs.spec, decide_profiles(inputs)["apiserver"]
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": spec.name,
        "kubernetesVersion": spec.release,
        "controlPlaneEndpoint": inputs.endpoint.authority,
        "certificatesDir": PKI,
        "encryptionAlgorithm": "ECDSA-P256",
        "imageRepository": inputs.release.image_repository,
        "networking": {
            "podSubnet": spec.pod_cidr,
            "serviceSubnet": spec.service_cidr,
            "dnsDomain": spec.dns_domain,
        },
        "etcd": {
            "external": {
                "endpoints": list(inputs.etcd_urls()),
                "caFile": f"{PKI}/etcd/ca.crt",
                "certFile": f"{PKI}/apiserver-etcd-client.crt",
                "keyFile": f"{PKI}/apiserver-etcd-client.key",
            }
        },
        "apiServer": {
            "certSANs": [*api_server.dns_names, *api_server.addresses],
            "extraArgs": _arguments(_api_server(inputs)),
        },
        "controllerManager": {"extraArgs": _arguments({"profiling": "false"})},
        "scheduler": {"extraArgs": _arguments({"profiling": "false"})},
    }


def _api_server(inputs: PlanInputs) -> dict[str, str]:
    """Beyond kubeadm's own flags."""
    assert inputs.endpoint is not None
    arguments = {
        # Clients that keep their connection for ever would all stay with the API server that came up first.
        "goaway-chance": "0.001",
        # The load balancer sees /readyz fail before the listener goes away; less than a static pod's 30 s of grace.
        "shutdown-delay-duration": f"{_shutdown_delay(inputs.endpoint)}s",
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "profiling": "false",
    }
    if inputs.spec.encrypt_secrets:
        arguments["encryption-provider-config"] = ENCRYPTION
    return arguments


def _shutdown_delay(endpoint: Endpoint) -> int:
    return max(15, math.ceil(endpoint.seen_down_after) + 1)


def _arguments(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(values.items())]
