"""The RBAC of Slipway's own services inside a cluster: who may do exactly what. One table, compared in a golden test.

Users are named by their certificates' common names. No service is in system:masters; the addon manager applies
arbitrary manifests, so cluster-admin is what it needs.
"""

from typing import Any

PROVISIONER = "slipway:provisioner"
MONITOR = "slipway:monitor"
ADDON_MANAGER = "slipway:addon-manager"

_LOOK = ["get", "list", "watch"]

_PROVISIONER_RULES: list[dict[str, Any]] = [
    {"apiGroups": [""], "resources": ["nodes"], "verbs": [*_LOOK, "patch", "delete"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": _LOOK},
    {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    {
        "apiGroups": ["rbac.authorization.k8s.io"],
        "resources": ["clusterroles", "clusterrolebindings"],
        "verbs": ["get", "list"],
    },
    {"nonResourceURLs": ["/readyz", "/livez", "/version"], "verbs": ["get"]},
]

_MONITOR_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": [""],
        "resources": ["nodes", "pods", "namespaces", "events", "services", "endpoints", "persistentvolumes"],
        "verbs": _LOOK,
    },
    {"apiGroups": ["apps"], "resources": ["deployments", "daemonsets", "statefulsets", "replicasets"], "verbs": _LOOK},
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": _LOOK},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": _LOOK},
    {
        "nonResourceURLs": [
            "/readyz",
            "/readyz/*",
            "/livez",
            "/livez/*",
            "/healthz",
            "/healthz/*",
            "/version",
            "/metrics",
        ],
        "verbs": ["get"],
    },
]


def cluster_roles() -> list[dict[str, Any]]:
    """The ClusterRoles that the bindings need beside Kubernetes' own."""
    return [_role(PROVISIONER, _PROVISIONER_RULES), _role(MONITOR, _MONITOR_RULES)]


def cluster_role_bindings() -> list[dict[str, Any]]:
    """Exactly the bindings of the three services."""
    return [
        _binding(PROVISIONER, PROVISIONER),
        _binding(MONITOR, MONITOR),
        _binding(ADDON_MANAGER, "cluster-admin"),
    ]


def _role(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "slipway"}},
        "rules": rules,
    }


def _binding(user: str, role: str) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user, "labels": {"app.kubernetes.io/managed-by": "slipway"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
