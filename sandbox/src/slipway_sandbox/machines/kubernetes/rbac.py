"""Who may do what: users, Kubernetes' RBAC evaluated on the stored objects, and what a kubelet may do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from slipway_sandbox.machines.kubernetes.storage import Storage

RBAC = "rbac.authorization.k8s.io"
CLUSTER_ROLES = f"clusterroles.{RBAC}"
CLUSTER_ROLE_BINDINGS = f"clusterrolebindings.{RBAC}"
ROLES = f"roles.{RBAC}"
ROLE_BINDINGS = f"rolebindings.{RBAC}"

Rule = dict[str, Any]


@dataclass(frozen=True)
class User:
    """An authenticated user: a certificate's common name and organizations."""

    name: str
    groups: tuple[str, ...] = ()

    @property
    def all_groups(self) -> tuple[str, ...]:
        """The groups with the one that the server adds."""
        added = "system:unauthenticated" if self.name == "system:anonymous" else "system:authenticated"
        return (*self.groups, added)


ANONYMOUS = User("system:anonymous")
MASTER = User("system:master", ("system:masters",))


@dataclass(frozen=True)
class Asked:
    """What a request wants to do. `resource` carries its subresource, as in pods/eviction."""

    verb: str
    group: str = ""
    resource: str = ""
    namespace: str = ""
    name: str = ""
    url: str = ""


def allowed(storage: Storage, user: User, asked: Asked) -> bool:
    """True when some rule of some binding of the user (or the node rules) allows it."""
    if "system:masters" in user.groups:
        return True
    if "system:nodes" in user.groups and _node_allows(user, asked):
        return True
    return any(_covers(rule, asked) for rule in rules_of(storage, user, asked.namespace))


def rules_of(storage: Storage, user: User, namespace: str) -> Iterator[Rule]:
    """All rules that bind the user at the cluster scope and in a namespace ("" for none)."""
    for binding in storage.objects(CLUSTER_ROLE_BINDINGS):
        if _binds(binding, user):
            yield from _role_rules(storage, binding, "")
    if not namespace:
        return
    for binding in storage.objects(ROLE_BINDINGS, namespace):
        if _binds(binding, user):
            yield from _role_rules(storage, binding, namespace)


def escalation(storage: Storage, user: User, namespace: str, wanted: Iterable[Rule]) -> Rule | None:
    """The first rule that the user does not hold himself, or None: nobody may grant more than he has."""
    if "system:masters" in user.groups:
        return None
    own = list(rules_of(storage, user, namespace))
    for rule in wanted:
        if not all(any(_covers(held, asked) for held in own) for asked in _everything_in(rule)):
            return rule
    return None


def referenced_rules(storage: Storage, binding: dict[str, Any]) -> list[Rule]:
    """The rules of the role that a binding names; empty when it does not exist."""
    return list(_role_rules(storage, binding, binding["metadata"].get("namespace", "")))


def _everything_in(rule: Rule) -> Iterator[Asked]:
    names = rule.get("resourceNames") or [""]
    for verb in rule.get("verbs") or []:
        for url in rule.get("nonResourceURLs") or []:
            yield Asked(verb, url=url)
        for group in rule.get("apiGroups") or []:
            for resource in rule.get("resources") or []:
                for name in names:
                    yield Asked(verb, group, resource, name=name)


def _binds(binding: dict[str, Any], user: User) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name")
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.all_groups:
            return True
        if kind == "ServiceAccount" and user.name == f"system:serviceaccount:{subject.get('namespace')}:{name}":
            return True
    return False


def _role_rules(storage: Storage, binding: dict[str, Any], namespace: str) -> Iterator[Rule]:
    reference = binding["roleRef"]
    if reference["kind"] == "ClusterRole":
        role = storage.get(CLUSTER_ROLES, "", reference["name"])
    else:
        role = storage.get(ROLES, namespace, reference["name"])
    yield from (role or {}).get("rules") or []


def _covers(rule: Rule, asked: Asked) -> bool:
    verbs = rule.get("verbs") or []
    if "*" not in verbs and asked.verb not in verbs:
        return False
    if asked.url:
        return any(
            url in ("*", asked.url) or (url.endswith("*") and asked.url.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or []
        )
    groups = rule.get("apiGroups") or []
    if "*" not in groups and asked.group not in groups:
        return False
    if not _covers_resource(rule.get("resources") or [], asked.resource):
        return False
    names = rule.get("resourceNames") or []
    return not names or asked.name in names


def _covers_resource(resources: list[str], asked: str) -> bool:
    if "*" in resources or asked in resources:
        return True
    _, _, sub = asked.partition("/")
    return bool(sub) and f"*/{sub}" in resources


def _node_allows(user: User, asked: Asked) -> bool:
    """The node authorizer with NodeRestriction: a kubelet reads what it needs and writes what is its own."""
    node = user.name.removeprefix("system:node:")
    reading = asked.verb in ("get", "list", "watch")
    if asked.group == "coordination.k8s.io" and asked.resource == "leases":
        return asked.namespace == "kube-node-lease" and (asked.name == node or asked.verb == "create")
    if asked.group == "" and asked.resource in ("nodes", "nodes/status"):
        return asked.verb in ("get", "list", "watch", "create", "update", "patch")  # NodeRestriction knows whose
    if asked.group == "" and asked.resource == "pods":
        return reading or asked.verb in ("create", "delete")
    if asked.group == "" and asked.resource in ("pods/status", "pods/eviction"):
        return asked.verb in ("update", "patch", "create")
    if asked.resource == "events":
        return asked.verb in ("create", "patch", "update")
    readable = {
        "": ("services", "persistentvolumeclaims", "persistentvolumes", "endpoints"),
        "storage.k8s.io": ("csidrivers", "volumeattachments", "csinodes"),
        "node.k8s.io": ("runtimeclasses",),
    }
    if asked.group == "" and asked.resource in ("secrets", "configmaps"):
        return reading and bool(asked.name)  # those that its pods name, one by one
    if asked.resource == "csinodes":
        return reading or asked.name == node or asked.verb == "create"
    return reading and asked.resource in readable.get(asked.group, ())
