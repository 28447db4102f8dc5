"""What a cluster must look like, whatever the cloud says. Every rule says its field and its remedy."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import combinations

from slipway_api.domain.problems import FieldProblem
from slipway_api.domain.requests import ClusterRequest, PoolRequest, TaintRequest, UserRequest
from slipway_api.domain.setups import check_fields, check_kubernetes_only
from slipway_contracts.values import DNS_LABEL, Role

ETCD_COUNTS: tuple[int, ...] = (1, 3, 5, 7)
CONTROLLER_COUNTS: tuple[int, ...] = (1, 2, 3, 4, 5)
"""Any number: the majority is etcd's affair, and etcd has machines of its own."""
MOST_WORKERS = 1000
NODE_SUFFIX = 7
"""A node's name is <cluster>-<pool>-<5 characters>, a DNS label of at most 63 characters."""
NODE_PREFIX_LENGTH = 24
"""The controller-manager gives each node a /24 of the pod range."""
SERVICE_PREFIXES = (12, 24)
"""kube-apiserver takes at most 20 bits of service addresses."""

LONGEST_USER = 255
"""Bytes of a user's name with the id."""
NOT_FOR_USERS = ("system:", "slipway:", "kubeadm:")
"""Names that Kubernetes, this service and kubeadm keep for programs."""

_USER_ID = re.compile(r"^[0-9A-Za-z-]{1,64}$")
_LABEL_NAME = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")
_LABEL_VALUE = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_DOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
_RESERVED = ("kubernetes.io", "k8s.io", "slipway.io", "slipway.dev", "slipway")
"""Kubernetes' NodeRestriction lets a kubelet set few labels of its own domains; ours mark what is ours."""
_FOR_USERS = "node-restriction.kubernetes.io"
"""The one domain of Kubernetes that is meant for users' labels which no kubelet may change."""


def check_name(name: str, field: str) -> list[FieldProblem]:
    """A DNS label that starts with a letter (RFC 1123, as Kubernetes asks of Service names)."""
    if DNS_LABEL.fullmatch(name):
        return []
    return [
        FieldProblem(
            "invalid_name",
            field,
            f"{name[:80]!r} is no DNS label",
            "Use 1 to 63 of a-z, 0-9 and '-'; begin with a letter, end with a letter or digit.",
        )
    ]


def check_count(role: Role, count: int, field: str) -> list[FieldProblem]:
    """How many nodes a pool of this role may have."""
    if role is Role.ETCD:
        if count > 0 and count % 2 == 0:
            message = f"{count} is even: it tolerates no more failures than {count - 1}"
            return [FieldProblem("even_etcd_count", field, message, "Choose 1, 3, 5 or 7 etcd nodes.")]
        allowed = ETCD_COUNTS
    elif role is Role.CONTROLLER:
        allowed = CONTROLLER_COUNTS
    else:
        if 0 <= count <= MOST_WORKERS:
            return []
        remedy = f"Choose 0 to {MOST_WORKERS} workers in a pool."
        return [FieldProblem("invalid_count", field, f"a pool cannot have {count} workers", remedy)]
    if count in allowed:
        return []
    choices = ", ".join(str(each) for each in allowed[:-1]) + f" or {allowed[-1]}"
    message = f"a cluster cannot have {count} {role.value} nodes"
    return [FieldProblem("invalid_count", field, message, f"Choose {choices}.")]


def check_pools(cluster: str, pools: Sequence[PoolRequest]) -> list[FieldProblem]:
    """Names, numbers, labels and taints of all pools, and that each role has its pools."""
    problems: list[FieldProblem] = []
    seen: set[str] = set()
    for index, pool in enumerate(pools):
        problems += check_pool(cluster, pool, f"pools[{index}].")
        if pool.name in seen:
            message = f"the name {pool.name} is used twice"
            problems.append(
                FieldProblem("duplicate_pool", f"pools[{index}].name", message, "Give each pool its own name.")
            )
        seen.add(pool.name)
    for role in (Role.ETCD, Role.CONTROLLER):
        if sum(1 for pool in pools if pool.role is role) > 1:
            message = f"a cluster has exactly one {role.value} pool"
            problems.append(FieldProblem("too_many_pools", "pools", message, "Leave one of them out."))
    return problems


def check_pool(cluster: str, pool: PoolRequest, prefix: str = "") -> list[FieldProblem]:
    """Name, number, labels and taints of one pool."""
    problems = check_name(pool.name, f"{prefix}name")
    if not problems and len(cluster) + len(pool.name) + NODE_SUFFIX > 63:
        message = f"node names {cluster}-{pool.name}-xxxxx would be longer than 63 characters"
        problems.append(
            FieldProblem("name_too_long", f"{prefix}name", message, "Shorten the cluster's or the pool's name.")
        )
    problems += check_count(pool.role, pool.count, f"{prefix}count")
    problems += check_labels(pool.labels, f"{prefix}labels")
    problems += check_taints(pool.taints, f"{prefix}taints")
    problems += check_fields(pool, prefix)
    problems += check_kubernetes_only(pool, prefix)
    return problems


def check_users(users: Sequence[UserRequest], field: str) -> list[FieldProblem]:
    """Names that a certificate can bear and RBAC may bind to people (see the provisioner's signing), each once."""
    problems: list[FieldProblem] = []
    seen: set[str] = set()
    for index, user in enumerate(users):
        name, _, user_id = user.name.rpartition("@")
        where = f"{field}[{index}].name"
        plain = name and name.isprintable() and name == name.strip() and len(user.name.encode()) <= LONGEST_USER
        if not plain or not _USER_ID.fullmatch(user_id):
            message = f"{user.name[:80]!r} is not <user name>@<user id>"
            remedy = (
                f"Write both as 'openstack user show' does, with an @ between them and {LONGEST_USER} bytes at most."
            )
            problems.append(FieldProblem("invalid_field", where, message, remedy))
        elif name.startswith(NOT_FOR_USERS):
            message = f"names that begin with {', '.join(NOT_FOR_USERS)} are not for people"
            problems.append(FieldProblem("invalid_field", where, message, "Leave the user out."))
        elif user.name in seen:
            message = f"{user.name[:80]} is named twice"
            problems.append(FieldProblem("invalid_field", where, message, "Name each user once, with one persona."))
        seen.add(user.name)
    return problems


def check_labels(labels: Mapping[str, str], field: str) -> list[FieldProblem]:
    """Kubernetes' syntax of labels, and no prefix that is reserved."""
    problems: list[FieldProblem] = []
    for key, value in labels.items():
        problems += _check_key(key, f"{field}.{key[:80]}")
        if not _LABEL_VALUE.fullmatch(value):
            remedy = "Use at most 63 of letters, digits, '-', '_' and '.'; begin and end with a letter or digit."
            message = f"{value[:80]!r} is no value of a label"
            problems.append(FieldProblem("invalid_label", f"{field}.{key[:80]}", message, remedy))
    return problems


def check_taints(taints: Sequence[TaintRequest], field: str) -> list[FieldProblem]:
    """Kubernetes' syntax of taints, and no prefix that is reserved."""
    problems: list[FieldProblem] = []
    for index, taint in enumerate(taints):
        problems += _check_key(taint.key, f"{field}[{index}].key")
        if not _LABEL_VALUE.fullmatch(taint.value):
            message = f"{taint.value[:80]!r} is no value of a taint"
            remedy = "Use at most 63 of letters, digits, '-', '_' and '.'."
            problems.append(FieldProblem("invalid_label", f"{field}[{index}].value", message, remedy))
    return problems


def _check_key(key: str, field: str) -> list[FieldProblem]:
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.fullmatch(name) or (slash and not _DOMAIN.fullmatch(prefix)):
        remedy = "Write [domain/]name: the name has at most 63 of letters, digits, '-', '_' and '.'."
        return [FieldProblem("invalid_label", field, f"{key[:80]!r} is no key of a label", remedy)]
    for reserved in _RESERVED:
        if prefix != _FOR_USERS and (prefix == reserved or prefix.endswith(f".{reserved}")):
            remedy = f"Use a domain of your own, no prefix, or {_FOR_USERS}, which no kubelet may change."
            return [FieldProblem("restricted_label", field, f"the prefix {prefix} is reserved", remedy)]
    return []


def check_cidrs(
    request: ClusterRequest, region_networks: Sequence[str], subnets: Sequence[str], nodes: int
) -> list[FieldProblem]:
    """Valid ranges that overlap neither each other nor what the nodes can already reach."""
    problems: list[FieldProblem] = []
    ranges: dict[str, IPv4Network] = {}
    for field, text in (("pod_cidr", request.pod_cidr), ("service_cidr", request.service_cidr)):
        parsed = _parse(text)
        if parsed is None:
            message = f"{text[:80]!r} is no IPv4 range"
            problems.append(FieldProblem("invalid_cidr", field, message, "Write a network address, as 10.244.0.0/16."))
        else:
            ranges[field] = parsed
    if problems:
        return problems
    problems += _check_sizes(ranges["pod_cidr"], ranges["service_cidr"], nodes)
    for (field, mine), (other, theirs) in combinations(ranges.items(), 2):
        if mine.overlaps(theirs):
            message = f"{mine} overlaps {other} {theirs}"
            problems.append(FieldProblem("overlapping_cidrs", field, message, "Choose ranges that do not overlap."))
    for field, mine in ranges.items():
        for what, others in (("the region's network", region_networks), ("the nodes' subnet", subnets)):
            problems += _check_apart(field, mine, what, others)
    return problems


def check_room(pods: IPv4Network, nodes: int, field: str, remedy: str) -> list[FieldProblem]:
    """Whether each controller and worker can have its part of the pod range."""
    room = 2 ** (NODE_PREFIX_LENGTH - pods.prefixlen) if pods.prefixlen <= NODE_PREFIX_LENGTH else 0
    if room >= nodes:
        return []
    message = f"{pods} has room for {room} nodes of a /{NODE_PREFIX_LENGTH} each, and {nodes} are wanted"
    return [FieldProblem("cidr_too_small", field, message, remedy)]


def _check_sizes(pods: IPv4Network, services: IPv4Network, nodes: int) -> list[FieldProblem]:
    problems = check_room(pods, nodes, "pod_cidr", "Choose a larger range, as a /16.")
    shortest, longest = SERVICE_PREFIXES
    if not shortest <= services.prefixlen <= longest:
        message = f"{services} is not between a /{shortest} and a /{longest}"
        problems.append(FieldProblem("invalid_cidr", "service_cidr", message, "Choose a /16, for example."))
    return problems


def _check_apart(field: str, mine: IPv4Network, what: str, others: Sequence[str]) -> list[FieldProblem]:
    for text in others:
        theirs: IPv4Network | IPv6Network = ip_network(text, strict=False)
        if isinstance(theirs, IPv4Network) and mine.overlaps(theirs):
            remedy = "Choose a range that is used nowhere in the region."
            return [FieldProblem("overlapping_cidrs", field, f"{mine} overlaps {what} {theirs}", remedy)]
    return []


def _parse(text: str) -> IPv4Network | None:
    if "/" not in text:
        return None
    try:
        return IPv4Network(text)
    except ValueError:
        return None
