"""What a real API server creates at its first start: namespaces, the default service, cluster roles, bindings."""

import ipaddress
from typing import Any

from slipway_sandbox.machines.kubernetes.rbac import RBAC

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")

_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]
_WORKLOADS = {
    "": [
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "serviceaccounts",
        "services",
    ],
    "apps": ["controllerrevisions", "daemonsets", "deployments", "deployments/scale", "replicasets", "statefulsets"],
    "autoscaling": ["horizontalpodautoscalers"],
    "batch": ["cronjobs", "jobs"],
    "discovery.k8s.io": ["endpointslices"],
    "networking.k8s.io": ["ingresses", "networkpolicies"],
    "policy": ["poddisruptionbudgets"],
}
_VIEW_ONLY = ["events", "limitranges", "namespaces", "pods/log", "pods/status", "resourcequotas"]


def bootstrap_objects(service_cidr: str) -> list[tuple[str, dict[str, Any]]]:
    """(qualified resource, object) in the order of creation."""
    first = str(next(ipaddress.ip_network(service_cidr).hosts()))
    kubernetes = {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver"}},
        "spec": {
            "clusterIP": first,
            "clusterIPs": [first],
            "type": "ClusterIP",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }
    objects: list[tuple[str, dict[str, Any]]] = [("namespaces", {"metadata": {"name": name}}) for name in NAMESPACES]
    objects.append(("services", kubernetes))
    objects += [(f"clusterroles.{RBAC}", role) for role in _cluster_roles()]
    objects += [(f"clusterrolebindings.{RBAC}", binding) for binding in _cluster_role_bindings()]
    for name, value in (("system-cluster-critical", 2000000000), ("system-node-critical", 2000001000)):
        priority = {"metadata": {"name": name}, "value": value, "description": "Used for system critical pods."}
        objects.append(("priorityclasses.scheduling.k8s.io", priority))
    return objects


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def _cluster_roles() -> list[dict[str, Any]]:
    everything = [_rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    view = [_rule([group], resources, _READ) for group, resources in _WORKLOADS.items()]
    view.append(_rule([""], _VIEW_ONLY, _READ))
    edit = [*view, _rule([""], ["secrets"], _READ + _WRITE), _rule([""], ["pods/eviction"], ["create"])]
    edit += [_rule([group], resources, _WRITE) for group, resources in _WORKLOADS.items()]
    admin = [*edit, _rule([RBAC], ["roles", "rolebindings"], _READ + _WRITE)]
    public = {"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]}
    urls = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz"]
    discovery = {"nonResourceURLs": [*urls, "/version", "/version/"], "verbs": ["get"]}
    reviews = [
        _rule(["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], ["create"]),
        _rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
    ]
    proxier = [
        _rule([""], ["endpoints", "services", "nodes"], _READ),
        _rule(["discovery.k8s.io"], ["endpointslices"], _READ),
        _rule(["", "events.k8s.io"], ["events"], ["create", "patch", "update"]),
        _rule(["networking.k8s.io"], ["servicecidrs"], ["list", "watch"]),
    ]
    named = {
        "cluster-admin": everything,
        "admin": admin,
        "edit": edit,
        "view": view,
        "system:discovery": [discovery],
        "system:public-info-viewer": [public],
        "system:basic-user": reviews,
        "system:node": [],
        "system:node-proxier": proxier,
        "system:kube-controller-manager": [_rule(["*"], ["*"], ["*"])],
        "system:kube-scheduler": [_rule([""], ["pods", "nodes"], _READ), _rule([""], ["pods/binding"], ["create"])],
        "system:kubelet-api-admin": [_rule([""], ["nodes", "nodes/proxy", "nodes/log", "nodes/stats"], ["*"])],
    }
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
    return [{"metadata": {"name": name, "labels": labels}, "rules": rules} for name, rules in named.items()]


def _cluster_role_bindings() -> list[dict[str, Any]]:
    subjects = {
        "cluster-admin": [("Group", "system:masters")],
        "system:discovery": [("Group", "system:authenticated")],
        "system:basic-user": [("Group", "system:authenticated")],
        "system:public-info-viewer": [("Group", "system:authenticated"), ("Group", "system:unauthenticated")],
        "system:node-proxier": [("User", "system:kube-proxy")],
        "system:kube-controller-manager": [("User", "system:kube-controller-manager")],
        "system:kube-scheduler": [("User", "system:kube-scheduler")],
    }
    return [
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": kind, "name": subject} for kind, subject in bound],
        }
        for name, bound in subjects.items()
    ]
