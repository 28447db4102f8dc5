"""Which certificates a node may have: a table of profiles by role. The provisioner signs nothing else for it.

Names and groups are Kubernetes' own: https://kubernetes.io/docs/setup/best-practices/certificates/
"""

import ipaddress
from datetime import timedelta

from slipway_contracts.values import Role
from slipway_provisioner.domain.pki import AuthorityName, CertificateProfile
from slipway_provisioner.domain.plans.model import PlanInputs, is_address

ADMIN_LIFETIME = timedelta(minutes=10)
"""kubeadm wants its admin files to exist while it writes the manifests; they are removed right after.

It never uses them for that, so they are of no group: whoever steals one in time may do nothing with it.
"""

KUBELET_CLIENT = "kube-apiserver-kubelet-client"
"""The API servers' user at the kubelets (logs, exec); RBAC binds it to the role system:kubelet-api-admin."""

LOOPBACK = "127.0.0.1"

Profiles = dict[str, CertificateProfile]


def decide_profiles(inputs: PlanInputs) -> Profiles:
    """The certificates of this node by the names that its plan uses."""
    if inputs.node.role is Role.ETCD:
        return _etcd_member(inputs)
    profiles = _kubelet(inputs)
    return profiles | _controller(inputs) if inputs.node.role is Role.CONTROLLER else profiles


def _etcd_member(inputs: PlanInputs) -> Profiles:
    name = inputs.node.name
    member = CertificateProfile(
        authority=AuthorityName.ETCD,
        common_name=name,
        dns_names=(name, "localhost"),
        addresses=(inputs.address, LOOPBACK),
        server=True,
        client=True,  # a member is also a client: of its peers, and of itself behind its HTTP gateway
    )
    return {
        "etcd-server": member,
        "etcd-peer": member,
        "etcd-client": _client(AuthorityName.ETCD, f"{name} healthcheck"),
    }


def _kubelet(inputs: PlanInputs) -> Profiles:
    user = f"system:node:{inputs.node.name}"
    return {
        "kubelet": _client(AuthorityName.KUBERNETES, user, "system:nodes"),
        "kubelet-serving": CertificateProfile(
            authority=AuthorityName.KUBERNETES,
            common_name=user,
            organizations=("system:nodes",),
            dns_names=(inputs.node.name,),
            addresses=(inputs.address,),
            server=True,
        ),
    }


def _controller(inputs: PlanInputs) -> Profiles:
    short_lived = {"lifetime": ADMIN_LIFETIME}
    admin = _client(AuthorityName.KUBERNETES, "kubernetes-admin")
    super_admin = _client(AuthorityName.KUBERNETES, "kubernetes-super-admin")
    return {
        "apiserver": _api_server(inputs),
        "apiserver-kubelet-client": _client(AuthorityName.KUBERNETES, KUBELET_CLIENT),
        "apiserver-etcd-client": _client(AuthorityName.ETCD, "kube-apiserver-etcd-client"),
        "front-proxy-client": _client(AuthorityName.FRONT_PROXY, "front-proxy-client"),
        "controller-manager": _client(AuthorityName.KUBERNETES, "system:kube-controller-manager"),
        "scheduler": _client(AuthorityName.KUBERNETES, "system:kube-scheduler"),
        "admin": admin.model_copy(update=short_lived),
        "super-admin": super_admin.model_copy(update=short_lived),
    }


def _api_server(inputs: PlanInputs) -> CertificateProfile:
    assert inputs.endpoint is not None
    endpoint, domain = inputs.endpoint, inputs.spec.dns_domain
    hosts = [host for host in (endpoint.host, endpoint.public) if host is not None]
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{domain}"]
    names = [inputs.node.name, *service, *(host for host in hosts if not is_address(host))]
    addresses = [inputs.address, LOOPBACK, service_address(inputs.spec.service_cidr, 1)]
    return CertificateProfile(
        authority=AuthorityName.KUBERNETES,
        common_name="kube-apiserver",
        dns_names=tuple(dict.fromkeys(names)),
        addresses=tuple(dict.fromkeys([*addresses, *(host for host in hosts if is_address(host))])),
        server=True,
    )


def _client(authority: AuthorityName, common_name: str, *organizations: str) -> CertificateProfile:
    return CertificateProfile(authority=authority, common_name=common_name, organizations=organizations, client=True)


def service_address(service_cidr: str, index: int) -> str:
    """The index-th address of the Services: 1 is the API's, 10 by convention the cluster DNS."""
    return str(ipaddress.ip_network(service_cidr)[index])
