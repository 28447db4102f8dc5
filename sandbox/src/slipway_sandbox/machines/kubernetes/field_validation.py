"""Which outermost fields a kind has: strict validation, as far as our clients go wrong there."""

from typing import Any

from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.statuses import bad_request

_EVERY = frozenset({"apiVersion", "kind", "metadata"})
_WITHOUT_SPEC: dict[str, frozenset[str]] = {
    "configmaps": frozenset({"data", "binaryData", "immutable"}),
    "secrets": frozenset({"data", "stringData", "type", "immutable"}),
    "serviceaccounts": frozenset({"secrets", "imagePullSecrets", "automountServiceAccountToken"}),
    "clusterroles": frozenset({"rules", "aggregationRule"}),
    "roles": frozenset({"rules"}),
    "clusterrolebindings": frozenset({"subjects", "roleRef"}),
    "rolebindings": frozenset({"subjects", "roleRef"}),
}
_WITH_SPEC = frozenset(
    {"nodes", "namespaces", "pods", "services", "deployments", "daemonsets", "replicasets", "statefulsets"}
    | {"poddisruptionbudgets", "leases", "jobs", "cronjobs", "networkpolicies", "ingresses"}
)


def check_fields(resource: Resource, value: dict[str, Any]) -> None:
    """Strict validation of an object's outermost fields. Raises Refused (400) for one that the kind does not have."""
    if resource.plural in _WITHOUT_SPEC:
        known = _EVERY | _WITHOUT_SPEC[resource.plural]
    elif resource.plural in _WITH_SPEC:
        known = _EVERY | {"spec", "status"}
    else:
        return
    unknown = sorted(set(value) - known)
    if unknown:
        listed = ", ".join(f'unknown field "{name}"' for name in unknown)
        raise bad_request(
            f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
            f"strict decoding error: {listed}"
        )
