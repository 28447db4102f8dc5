"""kube-proxy in iptables mode. It reaches the API through the endpoint: the Service addresses are what it makes.

Configuration: https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/
"""

from typing import Any

import yaml

from slipway_addon_manager.domain.model import Inputs, Manifest, digest_of
from slipway_addon_manager.domain.objects import (
    account,
    cluster_role_binding,
    config_map,
    config_volume,
    daemon_set,
    from_field,
    host_path,
    service_account,
)

NAME = "kube-proxy"
FOLDER = "/var/lib/kube-proxy"
_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


def kube_proxy(inputs: Inputs) -> list[Manifest]:
    """Account, permissions, configuration, and a pod on every node."""
    config = {"config.yaml": _configuration(inputs), "kubeconfig.yaml": _kubeconfig(inputs)}
    return [
        service_account(NAME),
        cluster_role_binding("slipway:kube-proxy", "system:node-proxier", account(NAME)),
        config_map(NAME, config),
        daemon_set(NAME, digest_of(config), _pod(inputs)),
    ]


def _configuration(inputs: Inputs) -> str:
    document: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": f"{FOLDER}/kubeconfig.yaml"},
        "clusterCIDR": inputs.spec.pod_cidr,
        "detectLocalMode": "ClusterCIDR",
    }
    machine = inputs.machine
    limits = {"maxPerCore": machine.conntrack_max_per_core, "min": machine.conntrack_min}
    conntrack = {name: value for name, value in limits.items() if value is not None}
    if conntrack:
        document["conntrack"] = conntrack
    return yaml.safe_dump(document, sort_keys=False)


def _kubeconfig(inputs: Inputs) -> str:
    """The pod's own account at the endpoint; the cluster's CA comes with the account."""
    cluster = {"server": inputs.endpoint.url, "certificate-authority": f"{_ACCOUNT_FOLDER}/ca.crt"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": cluster}],
        "users": [{"name": "account", "user": {"tokenFile": f"{_ACCOUNT_FOLDER}/token"}}],
        "contexts": [{"name": "default", "context": {"cluster": "cluster", "user": "account"}}],
        "current-context": "default",
    }
    return yaml.safe_dump(document, sort_keys=False)


def _pod(inputs: Inputs) -> dict[str, Any]:
    container = {
        "name": NAME,
        "image": inputs.images["kube_proxy"],
        "command": [
            "/usr/local/bin/kube-proxy",
            f"--config={FOLDER}/config.yaml",
            "--hostname-override=$(NODE_NAME)",
        ],
        "env": [from_field("NODE_NAME", "spec.nodeName")],
        "securityContext": {"privileged": True},
        "volumeMounts": [
            {"name": "config", "mountPath": FOLDER},
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
            {"name": "modules", "mountPath": "/lib/modules", "readOnly": True},
        ],
    }
    return {
        "serviceAccountName": NAME,
        "containers": [container],
        "volumes": [
            config_volume("config", NAME),
            host_path("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
            host_path("modules", "/lib/modules", "DirectoryOrCreate"),
        ],
    }
