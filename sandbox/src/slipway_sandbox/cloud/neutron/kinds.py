"""Neutron's resources as a table: what may be given, what is filled in, what may be changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from slipway_sandbox.cloud.messages import Json, Refused
from slipway_sandbox.cloud.service import Call
from slipway_sandbox.cloud.state import State, iso_z


@dataclass(frozen=True)
class Kind:
    """One resource: `given` maps what a request may set to its default, `mutable` is what PUT may change."""

    name: str
    plural: str
    missing: str
    given: dict[str, Any] = field(default_factory=dict)
    mutable: frozenset[str] = frozenset()
    only_admin: frozenset[str] = frozenset()


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "network",
            "networks",
            "NetworkNotFound:Network {} could not be found.",
            {
                "name": "",
                "admin_state_up": True,
                "mtu": 1450,
                "shared": False,
                "router:external": False,
                "port_security_enabled": True,
                "description": "",
                "availability_zone_hints": [],
            },
            frozenset({"name", "description", "admin_state_up", "shared", "port_security_enabled", "mtu"}),
        ),
        Kind(
            "subnet",
            "subnets",
            "SubnetNotFound:Subnet {} could not be found.",
            {
                "name": "",
                "network_id": None,
                "ip_version": 4,
                "cidr": None,
                "gateway_ip": None,
                "allocation_pools": [],
                "enable_dhcp": True,
                "dns_nameservers": [],
                "host_routes": [],
                "description": "",
            },
            frozenset({"name", "description", "enable_dhcp", "dns_nameservers", "host_routes", "gateway_ip"}),
        ),
        Kind(
            "port",
            "ports",
            "PortNotFound:Port {} could not be found.",
            {
                "name": "",
                "network_id": None,
                "mac_address": "",
                "admin_state_up": True,
                "device_id": "",
                "device_owner": "",
                "fixed_ips": [],
                "allowed_address_pairs": [],
                "extra_dhcp_opts": [],
                "security_groups": [],
                "description": "",
                "binding:vnic_type": "normal",
                "port_security_enabled": True,
                "tags": [],
            },
            frozenset(
                {
                    "name", "description", "admin_state_up", "device_id", "device_owner", "fixed_ips",
                    "allowed_address_pairs", "security_groups", "port_security_enabled", "extra_dhcp_opts",
                    "binding:vnic_type",
                }
            ),
            frozenset({"binding:profile", "binding:host_id", "binding:vif_type", "binding:vif_details"}),
        ),
        Kind(
            "security_group",
            "security-groups",
            "SecurityGroupNotFound:Security group {} does not exist",
            {"name": "", "description": "", "stateful": True},
            frozenset({"name", "description", "stateful"}),
        ),
        Kind(
            "security_group_rule",
            "security-group-rules",
            "SecurityGroupRuleNotFound:Security group rule {} does not exist",
            {
                "security_group_id": None,
                "direction": None,
                "ethertype": "IPv4",
                "protocol": None,
                "port_range_min": None,
                "port_range_max": None,
                "remote_ip_prefix": None,
                "remote_group_id": None,
                "remote_address_group_id": None,
                "description": "",
            },
        ),
        Kind(
            "floatingip",
            "floatingips",
            "FloatingIPNotFound:Floating IP {} could not be found",
            {
                "floating_network_id": None,
                "floating_ip_address": None,
                "port_id": None,
                "fixed_ip_address": None,
                "subnet_id": None,
                "description": "",
                "dns_domain": "",
                "dns_name": "",
            },
            frozenset({"port_id", "fixed_ip_address", "description"}),
        ),
        Kind("router", "routers", "RouterNotFound:Router {} could not be found"),
    )
}  # fmt: skip
BY_PLURAL = {kind.plural: kind for kind in KINDS.values()}
OWNERSHIP = ("tenant_id", "project_id")


def not_found(kind: Kind, wanted: str) -> Refused:
    """The 404 of this kind, as Neutron words it."""
    error, _, sentence = kind.missing.partition(":")
    return Refused(404, sentence.format(wanted), error)


def is_visible(state: State, kind: Kind, record: Json, call: Call) -> bool:
    """Whether the caller may see a record: its owner, an administrator, anybody for shared networks."""
    if call.caller.is_admin or record["project_id"] == call.caller.project:
        return True
    if kind.name == "network":
        return bool(record["shared"] or record["router:external"])
    if kind.name == "subnet":
        return bool(state.network["network"][record["network_id"]]["shared"])
    return False


def find_record(call: Call, kind: Kind, wanted: str) -> Json:
    """A record the caller may see, or 404."""
    record = call.state.network[kind.name].get(wanted)
    if record is None or not is_visible(call.state, kind, record, call):
        raise not_found(kind, wanted)
    return record


def find_own(call: Call, kind: Kind, wanted: str, action: str) -> Json:
    """A record the caller may change: 404 for what it cannot see, 403 for what it only sees."""
    record = find_record(call, kind, wanted)
    owner = record["project_id"] == call.caller.project and "member" in call.caller.roles
    if not (owner or call.caller.is_admin):
        raise Refused(403, f"rule:{action}_{kind.name} is disallowed by policy", "PolicyNotAuthorized")
    return record


def stamp(state: State, kind: Kind, project_id: str, fields: Json) -> Json:
    """Store a new record with id, owner, times and revision."""
    now = iso_z(state.now())
    record: Json = {
        "id": state.new_uuid(),
        "tags": [],
        **fields,
        "tenant_id": project_id,
        "project_id": project_id,
        "created_at": now,
        "updated_at": now,
        "revision_number": 1,
    }
    state.network[kind.name][record["id"]] = record
    return record


def touch(record: Json, now: str) -> None:
    """Note that a record changed."""
    record["updated_at"] = now
    record["revision_number"] += 1
