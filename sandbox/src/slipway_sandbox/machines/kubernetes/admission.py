"""What a real API server fills in, and what it refuses, kind by kind, before it stores an object."""

import base64
import ipaddress
import re
from datetime import datetime
from typing import Any

from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.selectors import matches_label_selector
from slipway_sandbox.machines.kubernetes.statuses import bad_request, invalid
from slipway_sandbox.machines.kubernetes.storage import Storage

Object = dict[str, Any]

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"

_NAME = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_FREE_NAMES = ("rbac.authorization.k8s.io",)
_WITHOUT_GENERATION = ("", "rbac.authorization.k8s.io", "coordination.k8s.io", "events.k8s.io")


def timestamp(now: datetime) -> str:
    """As metav1.Time writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def check_identity(resource: Resource, namespace: str, value: Object) -> None:
    """Raises Refused when body and address do not belong together, or the name is no name."""
    if value.get("kind", resource.kind) != resource.kind:
        raise bad_request(
            f"{value['kind']} in version {resource.version!r} cannot be handled as a {resource.kind}: "
            "no kind is registered for it under this address"
        )
    if value.get("apiVersion", resource.api_version) != resource.api_version:
        raise bad_request(
            f"the API version in the data ({value['apiVersion']}) does not match the expected API version "
            f"({resource.api_version})"
        )
    metadata = value.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("the object has no metadata")
    if metadata.get("namespace", namespace) != namespace:
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    name = metadata.get("name")
    if name and resource.group not in _FREE_NAMES and not _NAME.match(name):
        why = f'Invalid value: "{name}": a lowercase RFC 1123 subdomain consists of lower case letters, digits, - and .'
        raise invalid(resource.kind, name, "metadata.name", why)


def prepare_create(resource: Resource, value: Object, storage: Storage, now: datetime, service_cidr: str) -> Object:
    """The object as it is stored first: metadata of the server's, defaults, no status (but a Node's)."""
    metadata = {key: item for key, item in value["metadata"].items() if key not in ("resourceVersion", "managedFields")}
    uid = storage.next_uid()
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            raise invalid(resource.kind, "", "metadata.name", "Required value: name or generateName is required")
        metadata["name"] = metadata["generateName"] + uid[:5]
    metadata |= {"uid": uid, "creationTimestamp": timestamp(now)}
    if resource.group not in _WITHOUT_GENERATION:
        metadata["generation"] = 1
    created = {**value, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
    if "status" in resource.subresources and resource.plural != "nodes":
        created.pop("status", None)
    return default(resource, created, storage, service_cidr, creating=True)


def default(resource: Resource, value: Object, storage: Storage, service_cidr: str, *, creating: bool) -> Object:
    """Defaults of the kinds that something in the cluster depends on."""
    if resource.plural == "secrets":
        return _secret(value)
    if resource.plural == "services" and resource.group == "":
        return _service(value, storage, service_cidr, creating=creating)
    if not creating:
        return value
    if resource.plural == "nodes":
        return _new_node(value)
    if resource.plural == "namespaces":
        labels = (value["metadata"].get("labels") or {}) | {"kubernetes.io/metadata.name": value["metadata"]["name"]}
        metadata = {**value["metadata"], "labels": labels}
        spec = {"finalizers": ["kubernetes"]}
        return {**value, "metadata": metadata, "spec": spec, "status": {"phase": "Active"}}
    if resource.plural == "pods":
        return _new_pod(value)
    if resource.group == "apps" and resource.plural != "controllerrevisions":
        _check_workload(resource, value)
    if resource.plural in ("deployments", "replicasets", "statefulsets"):
        return {**value, "spec": {"replicas": 1, **(value.get("spec") or {})}, "status": {}}
    if resource.plural == "customresourcedefinitions":
        return _established(value)
    return value


def check_update(resource: Resource, before: Object, after: Object) -> None:
    """Raises Refused when a field changed that never may."""
    name = after["metadata"]["name"]
    if resource.plural in ("clusterrolebindings", "rolebindings") and before["roleRef"] != after.get("roleRef"):
        raise invalid(resource.kind, name, "roleRef", "Invalid value: cannot change roleRef")
    selector = (after.get("spec") or {}).get("selector")
    if resource.group == "apps" and before["spec"].get("selector") != selector:
        raise invalid(resource.kind, name, "spec.selector", "Invalid value: field is immutable")
    if resource.plural == "nodes":
        provider = (before.get("spec") or {}).get("providerID")
        if provider and provider != (after.get("spec") or {}).get("providerID"):
            why = 'Forbidden: node updates may not change providerID except from "" to valid'
            raise invalid(resource.kind, name, "spec.providerID", why)


def _secret(value: Object) -> Object:
    plain = value.get("stringData")
    if not plain:
        return {"type": "Opaque", **value}
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
    without = {key: item for key, item in value.items() if key != "stringData"}
    return {"type": "Opaque", **without, "data": (value.get("data") or {}) | encoded}


def _service(value: Object, storage: Storage, service_cidr: str, *, creating: bool) -> Object:
    spec = {"type": "ClusterIP", "sessionAffinity": "None", **(value.get("spec") or {})}
    taken = {(other.get("spec") or {}).get("clusterIP") for other in storage.objects("services")}
    wanted = spec.get("clusterIP")
    if creating and wanted not in (None, "", "None"):
        _check_service_address(value, wanted, taken, service_cidr)
    if "clusterIP" not in spec and spec["type"] != "ExternalName":
        hosts = ipaddress.ip_network(service_cidr).hosts()
        spec["clusterIP"] = next(str(host) for host in hosts if str(host) not in taken)
    if spec.get("clusterIP"):
        spec.setdefault("clusterIPs", [spec["clusterIP"]])
    return {**value, "spec": spec, "status": value.get("status") or {"loadBalancer": {}}}


def _check_service_address(value: Object, wanted: str, taken: set[str | None], service_cidr: str) -> None:
    if ipaddress.ip_address(wanted) not in ipaddress.ip_network(service_cidr):
        cause = f"provided IP is not in the valid range. The range of valid IPs is {service_cidr}"
    elif wanted in taken:
        cause = "provided IP is already allocated"
    else:
        return
    why = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {cause}'
    raise invalid("Service", value["metadata"]["name"], "spec.clusterIPs", why)


def _new_node(value: Object) -> Object:
    spec = dict(value.get("spec") or {})
    taints = [taint for taint in spec.get("taints") or [] if taint["key"] != NOT_READY]
    spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
    return {**value, "spec": spec, "status": value.get("status") or {}}


def _new_pod(value: Object) -> Object:
    spec = dict(value.get("spec") or {})
    if not spec.get("containers"):
        raise invalid("Pod", value["metadata"]["name"], "spec.containers", "Required value")
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    tolerations = list(spec.get("tolerations") or [])
    for key in (NOT_READY, UNREACHABLE):
        if not any(item.get("key") in (key, None) for item in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    return {
        **value,
        "spec": spec | {"tolerations": tolerations},
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    }


def _check_workload(resource: Resource, value: Object) -> None:
    name, spec = value["metadata"]["name"], value.get("spec") or {}
    if not spec.get("selector"):
        raise invalid(resource.kind, name, "spec.selector", "Required value")
    template = spec.get("template") or {}
    if not (template.get("spec") or {}).get("containers"):
        raise invalid(resource.kind, name, "spec.template.spec.containers", "Required value")
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not matches_label_selector(spec["selector"], labels):
        why = "Invalid value: `selector` does not match template `labels`"
        raise invalid(resource.kind, name, "spec.template.metadata.labels", why)


def _established(value: Object) -> Object:
    conditions = [
        {"type": kind, "status": "True", "reason": reason}
        for kind, reason in (("NamesAccepted", "NoConflicts"), ("Established", "InitialNamesAccepted"))
    ]
    names = value["spec"]["names"]
    return {**value, "status": {"conditions": conditions, "acceptedNames": names}}
