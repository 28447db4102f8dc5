"""Who may do what in a cluster: its users by name, and the API servers at the kubelets.

The bindings of Slipway's own services are the provisioner's, not an addon.
"""

from slipway_addon_manager.domain.model import Inputs, Manifest, digest_of
from slipway_addon_manager.domain.objects import cluster_role, cluster_role_binding, user
from slipway_contracts.api import ClusterUser, Persona

ROLES = {Persona.ADMIN: "cluster-admin", Persona.MEMBER: "cluster-admin", Persona.READER: "view"}
"""Whoever may change a cluster from outside could do anything in it anyway."""

KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The common name of the certificate that API servers show to kubelets (kubeadm's name)."""

USER_ANNOTATION = "slipway.dev/user"


def rbac(inputs: Inputs) -> list[Manifest]:
    """One binding for each user; Kubernetes' `view` also shows what it leaves out of the cluster's own objects."""
    people = {binding_name(each): each for each in inputs.spec.users}
    return [
        cluster_role_binding("slipway:kubelet-api-admin", "system:kubelet-api-admin", user(KUBELET_CLIENT)),
        _view_of_nodes(),
        *(_binding(people[name]) for name in sorted(people)),
    ]


def binding_name(person: ClusterUser) -> str:
    """The name of a user's binding. A name may hold what no object's name may, so a digest stands for it.

    The role belongs to it: a binding's role cannot be changed, so another persona is another binding.
    """
    return f"slipway:user:{ROLES[person.persona]}:{digest_of(person.name)}"


def _binding(person: ClusterUser) -> Manifest:
    annotations = {USER_ANNOTATION: person.name}
    return cluster_role_binding(binding_name(person), ROLES[person.persona], user(person.name), annotations)


def _view_of_nodes() -> Manifest:
    # the controller manager adds roles with this label to `view`
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    read = ["get", "list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["nodes", "persistentvolumes"], "verbs": read},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": read},
    ]
    return cluster_role("slipway:view-cluster", rules, labels)
