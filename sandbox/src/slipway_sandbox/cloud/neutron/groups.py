"""Security groups and their rules (stored, not enforced)."""

from __future__ import annotations

import ipaddress

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.neutron.binding import check_network_quota
from slipway_sandbox.cloud.neutron.kinds import KINDS, find_own, find_record, stamp
from slipway_sandbox.cloud.neutron.operations import changed, created, read_change, read_new
from slipway_sandbox.cloud.service import Call, Route
from slipway_sandbox.cloud.state import State

GROUP, RULE = KINDS["security_group"], KINDS["security_group_rule"]
PROTOCOLS = (
    None, "ah", "dccp", "egp", "esp", "gre", "hopopt", "icmp", "igmp", "ip", "ipip", "ipv6-encap", "ipv6-frag",
    "ipv6-icmp", "icmpv6", "ipv6-nonxt", "ipv6-opts", "ipv6-route", "ospf", "pgm", "rsvp", "sctp", "tcp", "udp",
    "udplite", "vrrp",
)  # fmt: skip
IDENTITY = (
    "security_group_id", "direction", "ethertype", "protocol", "port_range_min", "port_range_max",
    "remote_ip_prefix", "remote_group_id",
)  # fmt: skip


def make_group(state: State, project_id: str, fields: Json, *, ingress: bool = False) -> Json:
    """Make a group with the rules every group starts with; `ingress` adds those of `default`."""
    group = stamp(state, GROUP, project_id, {**GROUP.given, "shared": False, **fields})
    for direction in ("ingress", "egress") if ingress else ("egress",):
        for ethertype in ("IPv4", "IPv6"):
            remote = group["id"] if direction == "ingress" else None
            start = {"direction": direction, "ethertype": ethertype, "remote_group_id": remote}
            _stamp_rule(state, project_id, {**RULE.given, **start, "security_group_id": group["id"]})
    return group


def _stamp_rule(state: State, project_id: str, fields: Json) -> Json:
    return stamp(state, RULE, project_id, {**fields, "normalized_cidr": fields["remote_ip_prefix"]})


def create_group(call: Call) -> Response:
    """POST /security-groups."""
    owner, fields = read_new(call, GROUP)
    check_network_quota(call.state, owner, "security_group")
    check_network_quota(call.state, owner, "security_group_rule", 2)
    if fields["name"] == "default":
        raise Refused(409, "Default security group already exists.", "SecurityGroupDefaultAlreadyExists")
    return created(call, GROUP, make_group(call.state, owner, fields))


def update_group(call: Call) -> Response:
    """PUT /security-groups/{id}."""
    record, changes = read_change(call, GROUP)
    return changed(call, GROUP, record, changes)


def delete_group(call: Call) -> Response:
    """DELETE /security-groups/{id}: refused while a port has it, always for `default`."""
    group = find_own(call, GROUP, call.params["id"], "delete")
    state = call.state
    if any(group["id"] in port["security_groups"] for port in state.network["port"].values()):
        raise Refused(409, f"Security Group {group['id']} in use.", "SecurityGroupInUse")
    if group["name"] == "default" and not call.caller.is_admin:
        raise Refused(
            409,
            f"Insufficient rights for removing default security group {group['id']}.",
            "SecurityGroupCannotRemoveDefault",
        )
    rules = state.network["security_group_rule"]
    for rule in [rule for rule in rules.values() if rule["security_group_id"] == group["id"]]:
        del rules[rule["id"]]
    del state.network["security_group"][group["id"]]
    return answer(204)


def _check_rule(fields: Json) -> None:
    if fields["direction"] not in ("ingress", "egress"):
        message = f"Invalid input for direction. Reason: '{fields['direction']}' is not in ['ingress', 'egress']."
        raise Refused(400, message, "HTTPBadRequest")
    protocol = fields["protocol"]
    if protocol not in PROTOCOLS and not str(protocol).isdigit():
        raise Refused(
            400,
            f"Security group rule protocol {protocol} not supported. Only protocol values {list(PROTOCOLS)} and"
            " integer representations [0 to 255] are supported.",
            "SecurityGroupRuleInvalidProtocol",
        )
    if fields["remote_ip_prefix"] and fields["remote_group_id"]:
        message = "Only remote_ip_prefix or remote_group_id may be provided."
        raise Refused(400, message, "SecurityGroupMultipleRemoteEntitesProvided")
    low, high = fields["port_range_min"], fields["port_range_max"]
    if protocol in ("tcp", "udp") and low is not None and high is not None and int(low) > int(high):
        message = "For TCP/UDP protocols, port_range_min must be <= port_range_max"
        raise Refused(400, message, "SecurityGroupInvalidPortRange")
    try:
        ipaddress.ip_network(fields["remote_ip_prefix"] or "0.0.0.0/0", strict=False)
    except ValueError as error:
        message = f"Invalid input for remote_ip_prefix. Reason: '{fields['remote_ip_prefix']}' is not valid."
        raise Refused(400, message, "HTTPBadRequest") from error


def create_rule(call: Call) -> Response:
    """POST /security-group-rules: 409 names the rule that already says the same."""
    owner, fields = read_new(call, RULE)
    find_record(call, GROUP, str(fields["security_group_id"]))
    if fields["remote_group_id"]:
        find_record(call, GROUP, str(fields["remote_group_id"]))
    _check_rule(fields)
    for rule in call.state.network["security_group_rule"].values():
        if all(rule[key] == fields[key] for key in IDENTITY):
            message = f"Security group rule already exists. Rule id is {rule['id']}."
            raise Refused(409, message, "SecurityGroupRuleExists")
    check_network_quota(call.state, owner, "security_group_rule")
    return created(call, RULE, _stamp_rule(call.state, owner, fields))


def delete_rule(call: Call) -> Response:
    """DELETE /security-group-rules/{id}."""
    rule = find_own(call, RULE, call.params["id"], "delete")
    del call.state.network["security_group_rule"][rule["id"]]
    return answer(204)


GROUP_ROUTES = [
    Route("POST", "v2.0/security-groups", create_group),
    Route("PUT", "v2.0/security-groups/{id}", update_group),
    Route("DELETE", "v2.0/security-groups/{id}", delete_group),
    Route("POST", "v2.0/security-group-rules", create_rule),
    Route("DELETE", "v2.0/security-group-rules/{id}", delete_rule),
]
