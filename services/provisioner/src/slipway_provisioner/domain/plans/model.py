"""What a plan is rendered from, what comes out, and where things lie on a node."""

import hashlib
import ipaddress
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slipway_chassis.regions import Machine
from slipway_chassis.releases import Release
from slipway_contracts.agent import Artifact, Certificate, PlanStep
from slipway_contracts.api import ClusterSpec, NodeSpec, PoolSpec, Taint
from slipway_contracts.values import Role
from slipway_provisioner.domain.cluster_keys import PlanKeys
from slipway_provisioner.domain.kubernetes_nodes import taints_of
from slipway_provisioner.domain.pki import CertificateProfile

PROGRAMS = "/opt/slipway"
KUBERNETES = "/etc/kubernetes"
PKI = f"{KUBERNETES}/pki"
MANIFESTS = f"{KUBERNETES}/manifests"
ETCD_PKI = "/etc/etcd/pki"
API_SERVER_PORT = 6443
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380
ETCD_METRICS_PORT = 2381
KUBELET_HEALTH_PORT = 10248

WAIT_FOR_OTHERS = 86_400.0
"""Seconds. Other nodes take what they take; the healer watches each of them by its own deadline."""


@dataclass(frozen=True)
class Endpoint:
    """Where the cluster's API is reached."""

    host: str
    port: int
    public: str | None = None
    """Its address for all but the cluster's own nodes, where that is another one."""
    seen_down_after: float = 14.0
    """Seconds after which an API server that is not ready gets no more requests."""

    @property
    def authority(self) -> str:
        """host:port as in a URL."""
        return host_port(self.host, self.port)

    @property
    def url(self) -> str:
        """https://host:port."""
        return f"https://{self.authority}"


@dataclass(frozen=True)
class PlanNode:
    """The node that the plan is for."""

    node_id: str
    name: str
    role: Role
    address: str | None
    server_id: str | None
    zone: str | None = None
    reregister_at: datetime | None = None
    """When its kubelet had to start anew, to make its Node object again."""


@dataclass(frozen=True)
class Member:
    """An etcd or controller node as others need it: its address is its port's, and stays."""

    name: str
    address: str | None


@dataclass(frozen=True)
class Seat:
    """How the node's own member of etcd is started. It never changes for a server, or etcd would restart."""

    name: str
    """By which etcd knows the member."""
    initial: tuple[Member, ...]
    """All members by their names in etcd, this one among them."""
    existing: bool
    """Whether it joins an etcd that is there."""


@dataclass(frozen=True)
class MembershipChange:
    """What this node's agent does for another node's member of etcd (contracts' EtcdMember)."""

    node: str
    """The other node's name."""
    member: str
    """As the new member will publish itself."""
    address: str
    former_address: str | None = None
    """The lost member's, where the port was lost with it."""
    member_id: str | None = None
    """The learner to be promoted; None: it is to be added."""


@dataclass(frozen=True)
class PlanInputs:
    """All that a plan depends on; the same inputs give the same plan."""

    node: PlanNode
    spec: ClusterSpec
    pool: PoolSpec
    made_of: NodeSpec
    """What this node's machine was made of; the pool's may be newer, and then another node takes its place."""
    region: str
    machine: Machine
    mirror: str
    registry_mirrors: dict[str, str]
    release: Release
    keys: PlanKeys
    etcd: tuple[Member, ...]
    """The frozen membership, by the nodes' names."""
    endpoint: Endpoint | None
    seat: Seat | None = None
    """Of an etcd node; None while etcd has no place for its member."""
    change: MembershipChange | None = None
    """Of an etcd node that helps another one."""
    kubelets: tuple[str, ...] = ()
    """The lowest and the highest release that was seen on the cluster's nodes."""
    takes_packages: bool = True
    """Whether the node's agent can install what its image lacks (see `takes_packages`)."""

    @property
    def address(self) -> str:
        """The node's own address; a plan is only rendered when it is known."""
        assert self.node.address is not None
        return self.node.address

    @property
    def taints(self) -> tuple[Taint, ...]:
        """What the node registers with."""
        return taints_of(self.pool)

    @property
    def cgroup_driver(self) -> str:
        """Of the container runtime and the kubelet, which must agree."""
        return self.made_of.runtime.cgroup_driver or self.machine.cgroup_driver

    def etcd_urls(self) -> tuple[str, ...]:
        """The clients' URLs of all members, by name."""
        members = sorted(self.etcd, key=lambda member: member.name)
        return tuple(f"https://{host_port(str(member.address), ETCD_CLIENT_PORT)}" for member in members)

    def program_path(self, name: str) -> str:
        """Where a program of this release lies; another release has other paths, so units change with it."""
        release = f"etcd-{self.release.etcd_version}" if name.startswith("etcd") else self.spec.release
        return f"{PROGRAMS}/{release}/{name}"

    def program(self, name: str) -> Artifact:
        """The program from the region's mirror."""
        digest = self.release.artifacts[name].sha256
        return Artifact(url=self.mirror_url(name), sha256=digest, path=self.program_path(name))

    def mirror_url(self, name: str) -> str:
        """Where the region's mirror has the file of this name in the table of releases."""
        return f"{self.mirror.rstrip('/')}/{self.release.artifacts[name].file}"


@dataclass(frozen=True)
class RenderedPlan:
    """The steps, and what the provisioner signs for each certificate that they name."""

    steps: tuple[PlanStep, ...]
    profiles: dict[str, CertificateProfile]

    @property
    def content(self) -> str:
        """The steps as they are kept and handed out, JSON."""
        return json.dumps([step.model_dump(mode="json") for step in self.steps], sort_keys=True)

    @property
    def signed(self) -> dict[str, Any]:
        """The profiles as they are kept, by name."""
        return {name: profile.model_dump(mode="json") for name, profile in sorted(self.profiles.items())}

    @property
    def digest(self) -> str:
        """Another one when the agent has something else to do, or gets something else signed."""
        return hashlib.sha256((self.content + json.dumps(self.signed, sort_keys=True)).encode()).hexdigest()


@dataclass(frozen=True)
class Kubeconfig:
    """A kubeconfig that embeds a certificate and its key."""

    path: str
    server: str
    user: str
    ca_path: str = f"{PKI}/ca.crt"


def certificate(
    inputs: PlanInputs, name: str, profile: CertificateProfile, base: str, kubeconfig: Kubeconfig | None = None
) -> Certificate:
    """The plan's entry for a certificate at `base`.crt with its key at `base`.key.

    Its generation is a digest of what is signed and by whom: it moves when the certificate has to be another one.
    """
    content = profile.model_dump_json() + inputs.keys.fingerprint(profile.authority)
    return Certificate(
        name=name,
        key_path=f"{base}.key",
        cert_path=f"{base}.crt",
        generation=int(hashlib.sha256(content.encode()).hexdigest()[:7], 16),
        kubeconfig_path=kubeconfig.path if kubeconfig else None,
        kubeconfig_server=kubeconfig.server if kubeconfig else None,
        kubeconfig_ca_path=kubeconfig.ca_path if kubeconfig else None,
        kubeconfig_user=kubeconfig.user if kubeconfig else None,
    )


def host_port(host: str, port: int) -> str:
    """host:port as in a URL; IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if is_address(host) and ":" in host else f"{host}:{port}"


def is_address(host: str) -> bool:
    """Whether the host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
