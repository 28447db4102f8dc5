"""Who may talk to whom on a cluster's machines: one table of rules, made into one security group for each role.

Ports are Kubernetes', etcd's and Flannel's own (kubernetes.io "Ports and Protocols"; etcd 2379 and 2380; VXLAN 8472).
Everything not in the table is refused on the way in; the way out is open, which Neutron's own default rules say.
"""

from dataclasses import dataclass

from slipway_contracts.values import Role

ANYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Rule:
    """One kind of incoming traffic to a role's machines."""

    to: Role
    protocol: str
    first_port: int | None
    last_port: int | None
    sources: tuple[Role, ...]
    """Machines of these roles; none: anybody."""
    purpose: str


@dataclass(frozen=True)
class GroupRule:
    """One rule as Neutron has it; `source_group` is the role whose group may come in, none: anybody."""

    protocol: str
    first_port: int | None
    last_port: int | None
    source_group: Role | None
    description: str


_KUBELETS = (Role.CONTROLLER, Role.WORKER)

RULES: tuple[Rule, ...] = (
    Rule(Role.ETCD, "tcp", 2379, 2379, (Role.CONTROLLER, Role.ETCD), "etcd clients"),
    Rule(Role.ETCD, "tcp", 2380, 2380, (Role.ETCD,), "etcd peers"),
    Rule(Role.ETCD, "icmp", None, None, (Role.ETCD, Role.CONTROLLER), "path MTU and ping"),
    Rule(Role.CONTROLLER, "tcp", 6443, 6443, (), "Kubernetes API, through the endpoint"),
    Rule(Role.CONTROLLER, "tcp", 10250, 10250, _KUBELETS, "kubelet API: logs, exec, metrics"),
    Rule(Role.CONTROLLER, "udp", 8472, 8472, _KUBELETS, "pod network (VXLAN)"),
    Rule(Role.CONTROLLER, "icmp", None, None, (Role.ETCD, *_KUBELETS), "path MTU and ping"),
    Rule(Role.WORKER, "tcp", 10250, 10250, _KUBELETS, "kubelet API: logs, exec, metrics"),
    Rule(Role.WORKER, "udp", 8472, 8472, _KUBELETS, "pod network (VXLAN)"),
    Rule(Role.WORKER, "tcp", 30000, 32767, _KUBELETS, "node ports, within the cluster"),
    Rule(Role.WORKER, "udp", 30000, 32767, _KUBELETS, "node ports, within the cluster"),
    Rule(Role.WORKER, "icmp", None, None, _KUBELETS, "path MTU and ping"),
)


def rules_of(role: Role) -> tuple[GroupRule, ...]:
    """The rules of one role's security group, in the table's order."""
    return tuple(
        GroupRule(rule.protocol, rule.first_port, rule.last_port, source, rule.purpose)
        for rule in RULES
        if rule.to is role
        for source in (rule.sources or (None,))
    )
