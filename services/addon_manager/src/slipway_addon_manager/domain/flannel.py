"""Flannel: the pods' network, by VXLAN. The controller manager gives each node its part of the pods' CIDR.

It reaches the API through the endpoint, so that it needs no kube-proxy to start.
Source of its needs: https://github.com/flannel-io/flannel/blob/master/Documentation/kubernetes.md
"""

import json
from typing import Any

from slipway_addon_manager.domain.model import Inputs, Manifest, digest_of
from slipway_addon_manager.domain.objects import (
    account,
    cluster_role,
    cluster_role_binding,
    config_map,
    config_volume,
    daemon_set,
    from_field,
    host_path,
    service_account,
)

NAME = "flannel"
CONFIG_FOLDER = "/etc/kube-flannel"
_CNI_BIN = "/opt/cni/bin"
_CNI_CONFIG = "/etc/cni/net.d"

_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
]


def flannel(inputs: Inputs) -> list[Manifest]:
    """Account, permissions, configuration, and a pod on every node that also installs the CNI plugin."""
    config = {"net-conf.json": _network(inputs), "cni-conf.json": _cni()}
    return [
        service_account(NAME),
        cluster_role("slipway:flannel", _RULES),
        cluster_role_binding("slipway:flannel", "slipway:flannel", account(NAME)),
        config_map(NAME, config),
        daemon_set(NAME, digest_of(config), _pod(inputs)),
    ]


def _network(inputs: Inputs) -> str:
    return _json({"Network": inputs.spec.pod_cidr, "EnableNFTables": False, "Backend": {"Type": "vxlan"}})


def _cni() -> str:
    bridge = {"type": "flannel", "delegate": {"hairpinMode": True, "isDefaultGateway": True}}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return _json({"name": "cbr0", "cniVersion": "0.3.1", "plugins": [bridge, ports]})


def _pod(inputs: Inputs) -> dict[str, Any]:
    return {
        "serviceAccountName": NAME,
        "initContainers": [
            _copy(inputs, "install-plugin", "/flannel", f"{_CNI_BIN}/flannel", ("cni-bin", _CNI_BIN)),
            _copy(
                inputs,
                "install-config",
                f"{CONFIG_FOLDER}/cni-conf.json",
                f"{_CNI_CONFIG}/10-flannel.conflist",
                ("cni", _CNI_CONFIG),
                ("config", CONFIG_FOLDER),
            ),
        ],
        "containers": [_daemon(inputs)],
        "volumes": [
            host_path("run", "/run/flannel", "DirectoryOrCreate"),
            host_path("cni-bin", _CNI_BIN, "DirectoryOrCreate"),
            host_path("cni", _CNI_CONFIG, "DirectoryOrCreate"),
            host_path("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
            config_volume("config", NAME),
        ],
    }


def _copy(inputs: Inputs, name: str, source: str, target: str, *mounts: tuple[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "image": inputs.images["flannel_cni"],
        "command": ["cp", "-f", source, target],
        "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts],
    }


def _daemon(inputs: Inputs) -> dict[str, Any]:
    endpoint = inputs.endpoint
    return {
        "name": NAME,
        "image": inputs.images["flannel"],
        "command": ["/opt/bin/flanneld", "--ip-masq", "--kube-subnet-mgr"],
        "env": [
            from_field("POD_NAME", "metadata.name"),
            from_field("POD_NAMESPACE", "metadata.namespace"),
            {"name": "EVENT_QUEUE_DEPTH", "value": "5000"},
            {"name": "KUBERNETES_SERVICE_HOST", "value": endpoint.host},
            {"name": "KUBERNETES_SERVICE_PORT", "value": str(endpoint.port)},
        ],
        "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}},
        "securityContext": {"privileged": False, "capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}},
        "volumeMounts": [
            {"name": "run", "mountPath": "/run/flannel"},
            {"name": "config", "mountPath": CONFIG_FOLDER},
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
        ],
    }


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
