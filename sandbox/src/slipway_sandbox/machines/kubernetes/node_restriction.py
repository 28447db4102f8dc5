"""What a kubelet may write into its own objects, beyond what the node authorizer lets through (NodeRestriction).

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction
"""

from typing import Any

from slipway_sandbox.machines.kubernetes.rbac import User
from slipway_sandbox.machines.kubernetes.resources import Resource
from slipway_sandbox.machines.kubernetes.statuses import forbidden_because

Object = dict[str, Any]

_PREFIX = "system:node:"
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OWN_LABELS = frozenset(
    f"{prefix}kubernetes.io/{name}" for prefix in ("", "beta.") for name in ("arch", "os", "hostname", "instance-type")
) | {
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
}


def may_label(label: str) -> bool:
    """Whether a kubelet may give its own Node this label."""
    domain = label.rpartition("/")[0]
    reserved = domain in ("kubernetes.io", "k8s.io") or domain.endswith((".kubernetes.io", ".k8s.io"))
    own = any(domain == each or domain.endswith(f".{each}") for each in _OWN_DOMAINS)
    return not reserved or own or label in _OWN_LABELS


def check_node(user: User, resource: Resource, before: Object | None, after: Object) -> None:
    """Raises Refused when a kubelet writes another node's object, or gives its Node labels that are not its to give."""
    if "system:nodes" not in user.groups or not user.name.startswith(_PREFIX):
        return
    node, name = user.name.removeprefix(_PREFIX), after["metadata"].get("name", "")
    if resource.plural == "leases" and name != node:
        why = "can only access node lease with the same name as the requesting node"
        raise forbidden_because(resource.qualified, name, why)
    if resource.plural == "pods" and before is None:
        _check_mirror_pod(node, resource, after)
    if resource.plural != "nodes":
        return
    if name != node:
        raise forbidden_because("nodes", name, f'node "{node}" is not allowed to modify node "{name}"')
    old = (before or {"metadata": {}})["metadata"].get("labels") or {}
    new = after["metadata"].get("labels") or {}
    wrong = sorted(key for key in {*old, *new} if old.get(key) != new.get(key) and not may_label(key))
    if wrong:
        why = f'node "{node}" is not allowed to set the following labels: {", ".join(wrong)}'
        raise forbidden_because("nodes", name, why)


def _check_mirror_pod(node: str, resource: Resource, pod: Object) -> None:
    name = pod["metadata"].get("name", "")
    if "kubernetes.io/config.mirror" not in (pod["metadata"].get("annotations") or {}):
        raise forbidden_because(resource.qualified, name, 'pod does not have "kubernetes.io/config.mirror" annotation')
    if (pod.get("spec") or {}).get("nodeName") != node:
        why = f'node "{node}" can only create pods with spec.nodeName set to itself'
        raise forbidden_because(resource.qualified, name, why)
    owners = pod["metadata"].get("ownerReferences") or []
    if [(owner.get("kind"), owner.get("name"), owner.get("controller")) for owner in owners] != [("Node", node, True)]:
        why = f'node "{node}" can only create pods with an owner reference set to itself'
        raise forbidden_because(resource.qualified, name, why)
