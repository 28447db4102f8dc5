"""The readable table of ports, generated: `python -m slipway_provisioner.ports_table > docs/ports.md`.

Between a cluster's machines it is the table of security-group rules itself, so the document cannot say anything else.
"""

import sys
from collections.abc import Iterable, Iterator

from slipway_chassis.regions import Endpoint
from slipway_contracts.values import Role
from slipway_provisioner.domain.plans.model import API_SERVER_PORT, ETCD_METRICS_PORT, KUBELET_HEALTH_PORT
from slipway_provisioner.domain.security_groups import RULES, Rule, rules_of

NEUTRONS_OWN_RULES = 2
"""In each new security group: the way out, for IPv4 and IPv6."""

Row = tuple[str, ...]

_ENDPOINT = f"`endpoint.port` ({Endpoint.model_fields['port'].default}), tcp"
_INNER = "the endpoint's address in the cluster's network"
_OUTER = "the endpoint's address; with `reach: floating_ip` its floating IP"
_ALL = "all five services"

LOOPBACK: tuple[Row, ...] = (
    ("etcd", str(ETCD_METRICS_PORT), "etcd's `/livez`, `/readyz` and metrics, without TLS and without data"),
    ("controller, worker", str(KUBELET_HEALTH_PORT), "the kubelet's `/healthz`"),
)
"""What else listens on a machine, on its own loopback alone."""

OUTSIDE: tuple[Row, ...] = (
    (
        "machines",
        "`agent_url` (provisioner)",
        "yours, e.g. 8443, tcp",
        "the agent's program, plans, certificates, reports",
    ),
    ("machines", "`observe_url` (monitor)", "yours, e.g. 8444, tcp", "observations"),
    ("machines", "`mirror`", "its port, tcp", "Kubernetes' programs"),
    ("machines", "registries, or their mirrors in `registry_mirrors`", "443 or theirs, tcp", "images"),
    ("machines", _INNER, _ENDPOINT, "kubelets and pods to the Kubernetes API"),
    (
        "machines",
        "the cloud's metadata service, 169.254.169.254",
        "80, tcp",
        "user data, unless config drives bring it",
    ),
    ("machines", "DNS; NTP", "53; 123, udp", "names of the above; the time"),
    ("load balancers", "controllers", f"{API_SERVER_PORT}, tcp", "the endpoint's members, in the cluster's network"),
    ("provisioner, monitor, addon_manager", _OUTER, _ENDPOINT, "the Kubernetes API, by certificates of limited rights"),
    ("api, monitor, addon_manager", "`signing_url` (provisioner)", "yours, e.g. 8443, tcp", "signing, mutual TLS"),
    (
        "api, provisioner, monitor",
        "Keystone, Nova, Neutron, Glance, Octavia: public endpoints",
        "theirs, tcp",
        "the cloud",
    ),
    (_ALL, "RabbitMQ", "5672, with TLS 5671, tcp", "events"),
    (_ALL, "PostgreSQL", "5432, tcp", "each its own database"),
    (_ALL, "`SLIPWAY_OTLP_ENDPOINT`, if set", "4318, tcp", "traces"),
    ("Prometheus, probes", "each service's `..._HTTP_PORT`", "yours, e.g. 8080 to 8084, tcp", "`/metrics`, `/readyz`"),
    ("users", "the api, or the proxy before it", "8080, or 443, tcp", "REST, `slipway`"),
    ("users", _OUTER, _ENDPOINT, "`kubectl`"),
)
"""What must be let through outside of the machines' security groups."""

_HEAD = """# Ports

Generated from the provisioner's table of security-group rules by `make docs`; do not edit.

## Between a cluster's machines

Slipway makes one security group for each role in the user's project, with these rules. Whatever else wants to come in
is refused; nothing is refused on the way out.

"""

_COUNT = """
In Neutron these are {rules} rules in {groups} groups: one for each role that may come in, and Neutron's own {own} for
the way out of each group. A rule that somebody deletes is made again within minutes
(`SLIPWAY_PROVISIONER_PARTS_CHECK_EVERY`); rules that somebody adds to these groups stay.

Only on a machine's own loopback, for its agent:

"""

_BETWEEN = """
## What routers and firewalls must let through

"""

_END = """
No service ever connects to a machine, and no machine needs a way in from outside its network but through the load
balancer. Agents call and are not called: address translation between machines and services does no harm.
"""


def document() -> str:
    """The whole document."""
    rules = sum(len(rules_of(role)) + NEUTRONS_OWN_RULES for role in Role)
    return "".join(
        (
            _HEAD,
            *_table(("to", "protocol", "ports", "from", "for"), (_row(rule) for rule in RULES)),
            _COUNT.format(rules=rules, groups=len(Role), own=NEUTRONS_OWN_RULES),
            *_table(("on", "port", "what"), LOOPBACK),
            _BETWEEN,
            *_table(("from", "to", "port", "for"), OUTSIDE),
            _END,
        )
    )


def _table(head: Row, rows: Iterable[Row]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}\n"
    for row in rows:
        yield f"| {' | '.join(row)} |\n"


def _row(rule: Rule) -> Row:
    sources = ", ".join(role.value for role in rule.sources) or "anywhere"
    return rule.to.value, rule.protocol, _ports(rule), sources, rule.purpose


def _ports(rule: Rule) -> str:
    if rule.first_port is None:
        return "any"
    return str(rule.first_port) if rule.first_port == rule.last_port else f"{rule.first_port}-{rule.last_port}"


if __name__ == "__main__":
    sys.stdout.write(document())
