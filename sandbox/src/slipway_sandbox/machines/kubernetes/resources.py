"""The kinds an emulated API server serves, and their discovery documents."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


@dataclass(frozen=True)
class Resource:
    """One resource of one group and version."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def qualified(self) -> str:
        """The plural with its group, as the real server names it in errors: deployments.apps."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        """As in the object's apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version


def _r(group_version: str, plural: str, kind: str, scope: str, short: str = "", sub: str = "") -> Resource:
    group, _, version = group_version.rpartition("/")
    return Resource(group, version, plural, kind, scope == "namespace", tuple(short.split()), tuple(sub.split()))


BUILTIN: tuple[Resource, ...] = (
    _r("v1", "nodes", "Node", "cluster", "no", "status"),
    _r("v1", "namespaces", "Namespace", "cluster", "ns", "status finalize"),
    _r("v1", "persistentvolumes", "PersistentVolume", "cluster", "pv", "status"),
    _r("v1", "pods", "Pod", "namespace", "po", "status eviction binding"),
    _r("v1", "services", "Service", "namespace", "svc", "status"),
    _r("v1", "serviceaccounts", "ServiceAccount", "namespace", "sa"),
    _r("v1", "configmaps", "ConfigMap", "namespace", "cm"),
    _r("v1", "secrets", "Secret", "namespace"),
    _r("v1", "events", "Event", "namespace", "ev"),
    _r("v1", "endpoints", "Endpoints", "namespace", "ep"),
    _r("v1", "limitranges", "LimitRange", "namespace", "limits"),
    _r("v1", "resourcequotas", "ResourceQuota", "namespace", "quota", "status"),
    _r("v1", "persistentvolumeclaims", "PersistentVolumeClaim", "namespace", "pvc", "status"),
    _r("v1", "replicationcontrollers", "ReplicationController", "namespace", "rc", "status scale"),
    _r("v1", "podtemplates", "PodTemplate", "namespace"),
    _r("apps/v1", "deployments", "Deployment", "namespace", "deploy", "status scale"),
    _r("apps/v1", "daemonsets", "DaemonSet", "namespace", "ds", "status"),
    _r("apps/v1", "replicasets", "ReplicaSet", "namespace", "rs", "status scale"),
    _r("apps/v1", "statefulsets", "StatefulSet", "namespace", "sts", "status scale"),
    _r("apps/v1", "controllerrevisions", "ControllerRevision", "namespace"),
    _r("batch/v1", "jobs", "Job", "namespace", "", "status"),
    _r("batch/v1", "cronjobs", "CronJob", "namespace", "cj", "status"),
    _r("rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", "cluster"),
    _r("rbac.authorization.k8s.io/v1", "clusterrolebindings", "ClusterRoleBinding", "cluster"),
    _r("rbac.authorization.k8s.io/v1", "roles", "Role", "namespace"),
    _r("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", "namespace"),
    _r("coordination.k8s.io/v1", "leases", "Lease", "namespace"),
    _r("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", "namespace", "pdb", "status"),
    _r("storage.k8s.io/v1", "storageclasses", "StorageClass", "cluster", "sc"),
    _r("storage.k8s.io/v1", "csidrivers", "CSIDriver", "cluster"),
    _r("storage.k8s.io/v1", "csinodes", "CSINode", "cluster"),
    _r("storage.k8s.io/v1", "volumeattachments", "VolumeAttachment", "cluster", "", "status"),
    _r("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", "namespace", "netpol"),
    _r("networking.k8s.io/v1", "ingresses", "Ingress", "namespace", "ing", "status"),
    _r("networking.k8s.io/v1", "ingressclasses", "IngressClass", "cluster"),
    _r("discovery.k8s.io/v1", "endpointslices", "EndpointSlice", "namespace"),
    _r("events.k8s.io/v1", "events", "Event", "namespace", "ev"),
    _r("scheduling.k8s.io/v1", "priorityclasses", "PriorityClass", "cluster", "pc"),
    _r("node.k8s.io/v1", "runtimeclasses", "RuntimeClass", "cluster"),
    _r("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", "namespace", "hpa", "status"),
    _r("certificates.k8s.io/v1", "certificatesigningrequests", "CertificateSigningRequest", "cluster", "csr", "status"),
    _r("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", "cluster", "crd", "status"),
    _r("apiregistration.k8s.io/v1", "apiservices", "APIService", "cluster", "", "status"),
    _r(
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "cluster",
    ),
    _r("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", "cluster"),
    _r("flowcontrol.apiserver.k8s.io/v1", "flowschemas", "FlowSchema", "cluster", "", "status"),
)

REVIEWS = (
    ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview"),
)


def custom_resources(definitions: Iterable[dict[str, Any]]) -> list[Resource]:
    """What CustomResourceDefinition objects add, one per served version."""
    found = []
    for definition in definitions:
        spec = definition["spec"]
        names = spec["names"]
        for version in spec.get("versions", []):
            if not version.get("served", True):
                continue
            found.append(
                Resource(
                    spec["group"],
                    version["name"],
                    names["plural"],
                    names["kind"],
                    spec.get("scope") == "Namespaced",
                    tuple(names.get("shortNames", ())),
                    tuple(version.get("subresources") or ()),
                )
            )
    return found


def group_list(resources: Iterable[Resource]) -> dict[str, Any]:
    """`GET /apis`."""
    groups: dict[str, list[str]] = {}
    for group, version in [(r.group, r.version) for r in resources] + [(g, v) for g, v, _, _ in REVIEWS]:
        if group and version not in groups.setdefault(group, []):
            groups[group].append(version)
    listed = []
    for group, versions in groups.items():
        entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
        listed.append({"name": group, "versions": entries, "preferredVersion": entries[0]})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def resource_list(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any] | None:
    """`GET /api/v1` and `GET /apis/<group>/<version>`; None when there is no such group and version."""
    listed: list[dict[str, Any]] = []
    for resource in resources:
        if (resource.group, resource.version) != (group, version):
            continue
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": _VERBS,
        }
        listed.append(entry | ({"shortNames": list(resource.short)} if resource.short else {}))
        listed.extend(_subresource(resource, sub) for sub in resource.subresources)
    for review_group, review_version, plural, kind in REVIEWS:
        if (review_group, review_version) == (group, version):
            entry = {"name": plural, "singularName": "", "namespaced": False, "kind": kind, "verbs": ["create"]}
            listed.append(entry)
    if not listed:
        return None
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _subresource(resource: Resource, sub: str) -> dict[str, Any]:
    kinds = {"eviction": ("Eviction", "policy", "v1"), "scale": ("Scale", "autoscaling", "v1")}
    kind, group, version = kinds.get(sub, (resource.kind, "", ""))
    verbs = ["create"] if sub in ("eviction", "binding") else ["get", "patch", "update"]
    entry: dict[str, Any] = {
        "name": f"{resource.plural}/{sub}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind,
        "verbs": verbs,
    }
    return entry | ({"group": group, "version": version} if group else {})
