"""The shapes that several addons' objects share."""

from typing import Any

from slipway_addon_manager.domain.model import Manifest

NAMESPACE = "kube-system"
RBAC_GROUP = "rbac.authorization.k8s.io"
CONFIG_DIGEST = "slipway.dev/config-digest"
"""On pod templates: another configuration is another template, so its pods are rolled."""


def service_account(name: str) -> Manifest:
    """An account for an addon's pods."""
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}


def config_map(name: str, data: dict[str, str]) -> Manifest:
    """An addon's configuration."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


def cluster_role(name: str, rules: list[dict[str, Any]], labels: dict[str, str] | None = None) -> Manifest:
    """A set of permissions."""
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return {"apiVersion": f"{RBAC_GROUP}/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def cluster_role_binding(
    name: str, role: str, subject: dict[str, str], annotations: dict[str, str] | None = None
) -> Manifest:
    """Gives a role to one subject."""
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, **({"annotations": annotations} if annotations else {})},
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [subject],
    }


def user(name: str) -> dict[str, str]:
    """A person or program, by the common name of its certificate."""
    return {"apiGroup": RBAC_GROUP, "kind": "User", "name": name}


def account(name: str) -> dict[str, str]:
    """A service account as the subject of a binding."""
    return {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}


def daemon_set(name: str, config_digest: str, pod: dict[str, Any]) -> Manifest:
    """Pods on every node, whatever its taints, and before the node has a network."""
    labels = {"k8s-app": name}
    spec = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        **pod,
    }
    template = {"metadata": {"labels": labels, "annotations": {CONFIG_DIGEST: config_digest}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
            "template": template,
        },
    }


def from_field(name: str, path: str) -> dict[str, Any]:
    """An environment variable with a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def host_path(name: str, path: str, kind: str) -> dict[str, Any]:
    """A volume that is a path of the node."""
    return {"name": name, "hostPath": {"path": path, "type": kind}}


def config_volume(name: str, config: str) -> dict[str, Any]:
    """A volume with a ConfigMap's files."""
    return {"name": name, "configMap": {"name": config}}
