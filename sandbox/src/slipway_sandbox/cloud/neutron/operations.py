"""Making, changing and deleting networks, subnets, ports and floating IPs."""

from __future__ import annotations

import ipaddress
from copy import copy
from functools import partial

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.neutron.addresses import allocate, release, subnets_of
from slipway_sandbox.cloud.neutron.binding import check_network_quota, delete_port, make_port, may_use_network
from slipway_sandbox.cloud.neutron.kinds import KINDS, OWNERSHIP, Kind, find_own, find_record, not_found, stamp, touch
from slipway_sandbox.cloud.neutron.listing import list_records, show_record, view
from slipway_sandbox.cloud.service import Call, Route, require_admin, require_role
from slipway_sandbox.cloud.state import iso_z

NETWORK, SUBNET, PORT, FLOATING = KINDS["network"], KINDS["subnet"], KINDS["port"], KINDS["floatingip"]


def read_new(call: Call, kind: Kind) -> tuple[str, Json]:
    """The owner and the checked fields of a POST body."""
    require_role(call, f"rule:create_{kind.name} is disallowed by policy")
    body = call.body(kind.name)
    unknown = [key for key in body if key not in kind.given and key not in OWNERSHIP and key not in kind.only_admin]
    if unknown:
        raise Refused(400, f"Unrecognized attribute(s) '{', '.join(unknown)}'", "HTTPBadRequest")
    owner = str(body.get("project_id") or body.get("tenant_id") or call.caller.project)
    if owner != call.caller.project:
        require_admin(call, f"rule:create_{kind.name} is disallowed by policy")
    fields = {key: body.get(key, copy(default)) for key, default in kind.given.items()}
    return owner, fields


def read_change(call: Call, kind: Kind) -> tuple[Json, Json]:
    """The record and the checked changes of a PUT body."""
    record = find_own(call, kind, call.params["id"], "update")
    changes = call.body(kind.name)
    for key in changes:
        if key not in kind.mutable:
            known = key in record
            message = f"Cannot update read-only attribute {key}" if known else f"Unrecognized attribute(s) '{key}'"
            raise Refused(400, message, "HTTPBadRequest")
    return record, changes


def created(call: Call, kind: Kind, record: Json) -> Response:
    """201 with the new record."""
    return answer(201, {kind.name: view(call.state, kind, record, call)})


def changed(call: Call, kind: Kind, record: Json, changes: Json) -> Response:
    """Write changes and answer 200 with the record."""
    record.update(changes)
    touch(record, iso_z(call.state.now()))
    return answer(200, {kind.name: view(call.state, kind, record, call)})


def update_record(call: Call, kind: Kind) -> Response:
    """PUT without further rules."""
    record, changes = read_change(call, kind)
    return changed(call, kind, record, changes)


def create_network(call: Call) -> Response:
    """POST /networks; shared and external ones are for administrators."""
    owner, fields = read_new(call, NETWORK)
    for flag in ("shared", "router:external"):
        if fields[flag]:
            require_admin(call, f"rule:create_network:{flag} is disallowed by policy")
    check_network_quota(call.state, owner, "network")
    return created(call, NETWORK, stamp(call.state, NETWORK, owner, {**fields, "status": "ACTIVE"}))


def delete_network(call: Call) -> Response:
    """DELETE /networks/{id}: refused while ports are on it; its subnets go with it."""
    network = find_own(call, NETWORK, call.params["id"], "delete")
    ports = [port["id"] for port in call.state.network["port"].values() if port["network_id"] == network["id"]]
    if ports:
        raise Refused(
            409,
            f"Unable to complete operation on network {network['id']}. There are one or more ports still in use"
            f" on the network, id for these ports is: {','.join(ports)}.",
            "NetworkInUse",
        )
    for subnet in subnets_of(call.state, network["id"]):
        del call.state.network["subnet"][subnet["id"]]
    del call.state.network["network"][network["id"]]
    return answer(204)


def create_subnet(call: Call) -> Response:
    """POST /subnets: gateway and pool are worked out from the range."""
    owner, fields = read_new(call, SUBNET)
    network = find_record(call, NETWORK, str(fields["network_id"]))
    try:
        cidr = ipaddress.ip_network(str(fields["cidr"]))
    except ValueError as error:
        message = f"Invalid input for cidr. Reason: '{fields['cidr']}' is not a valid IP subnet."
        raise Refused(400, message, "HTTPBadRequest") from error
    check_network_quota(call.state, owner, "subnet")
    for other in subnets_of(call.state, network["id"]):
        if cidr.overlaps(ipaddress.ip_network(other["cidr"])):
            raise Refused(
                400,
                f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: {network['id']}"
                f" overlaps with another subnet.",
                "InvalidInput",
            )
    fields["gateway_ip"] = fields["gateway_ip"] or str(cidr[1])
    fields["allocation_pools"] = fields["allocation_pools"] or [{"start": str(cidr[2]), "end": str(cidr[-2])}]
    extra: Json = {"subnetpool_id": None, "ipv6_ra_mode": None, "ipv6_address_mode": None, "service_types": []}
    return created(call, SUBNET, stamp(call.state, SUBNET, owner, {**fields, **extra}))


def delete_subnet(call: Call) -> Response:
    """DELETE /subnets/{id}: refused while addresses are in use."""
    subnet = find_own(call, SUBNET, call.params["id"], "delete")
    if call.state.addresses.get(subnet["id"]):
        raise Refused(
            409,
            f"Unable to complete operation on subnet {subnet['id']}: One or more ports have an IP allocation"
            " from this subnet.",
            "SubnetInUse",
        )
    del call.state.network["subnet"][subnet["id"]]
    return answer(204)


def _check_groups(call: Call, owner: str, groups: list[str]) -> None:
    for group_id in groups:
        group = call.state.network["security_group"].get(group_id)
        if group is None or not (group["project_id"] == owner or call.caller.is_admin):
            raise not_found(KINDS["security_group"], group_id)


def create_port(call: Call) -> Response:
    """POST /ports: an address of the network, the security groups given or `default`."""
    owner, fields = read_new(call, PORT)
    body = call.body("port")
    network = call.state.network["network"].get(str(fields["network_id"]))
    if network is None or not (may_use_network(network, owner) or call.caller.is_admin):
        raise not_found(NETWORK, str(fields["network_id"]))
    groups = body.get("security_groups")
    _check_groups(call, owner, groups or [])
    # The lab's Neutron ignores tags in POST /ports without the extension for it: they are set afterwards.
    fields["tags"] = []
    port = make_port(call.state, owner, network["id"], groups, fields)
    return created(call, PORT, port)


def update_port(call: Call) -> Response:
    """PUT /ports/{id}."""
    port, changes = read_change(call, PORT)
    _check_groups(call, port["project_id"], changes.get("security_groups", []))
    for pair in changes.get("allowed_address_pairs", []):
        pair.setdefault("mac_address", port["mac_address"])
    if "fixed_ips" in changes:
        old = port["fixed_ips"]
        release(call.state, old)
        try:
            changes["fixed_ips"] = allocate(call.state, port["network_id"], changes["fixed_ips"])
        except Refused:
            allocate(call.state, port["network_id"], old)
            raise
    return changed(call, PORT, port, changes)


def delete_port_call(call: Call) -> Response:
    """DELETE /ports/{id}; a server that uses it loses it, as in Neutron."""
    port = find_own(call, PORT, call.params["id"], "delete")
    if str(port["device_owner"]).startswith("network:") and not call.caller.is_admin:
        message = f"Port {port['id']} cannot be deleted directly via the port API: has device owner"
        raise Refused(409, f"{message} {port['device_owner']}.", "ServicePortInUse")
    delete_port(call.state, port["id"])
    return answer(204)


def _associate(call: Call, owner: str, port_id: str | None) -> Json:
    if port_id is None:
        return {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
    port = call.state.network["port"].get(port_id)
    if port is None or not (port["project_id"] == owner or call.caller.is_admin):
        raise not_found(PORT, port_id)
    for other in call.state.network["floatingip"].values():
        if other["port_id"] == port_id:
            raise Refused(
                409,
                f"Cannot associate floating IP with port {port_id}: it already has a floating IP"
                f" {other['floating_ip_address']}.",
                "FloatingIPPortAlreadyAssociated",
            )
    address = port["fixed_ips"][0]["ip_address"] if port["fixed_ips"] else None
    return {"port_id": port_id, "fixed_ip_address": address, "router_id": None, "status": "ACTIVE"}


def create_floatingip(call: Call) -> Response:
    """POST /floatingips: an address of an external network, tied to a port if one is named."""
    owner, fields = read_new(call, FLOATING)
    network = find_record(call, NETWORK, str(fields["floating_network_id"]))
    if not network["router:external"]:
        message = f"Bad floatingip request: Network {network['id']} is not a valid external network."
        raise Refused(400, message, "BadRequest")
    check_network_quota(call.state, owner, "floatingip")
    tie = _associate(call, owner, fields["port_id"])
    wish = fields["floating_ip_address"]
    taken = allocate(call.state, network["id"], [{"ip_address": wish}] if wish else [])
    fields |= {**tie, "floating_ip_address": taken[0]["ip_address"]}
    fields["subnet_id"] = taken[0]["subnet_id"]
    return created(call, FLOATING, stamp(call.state, FLOATING, owner, fields))


def update_floatingip(call: Call) -> Response:
    """PUT /floatingips/{id}: tie it to a port or let it go."""
    record, changes = read_change(call, FLOATING)
    if "port_id" in changes and changes["port_id"] != record["port_id"]:
        changes |= _associate(call, record["project_id"], changes["port_id"])
    return changed(call, FLOATING, record, changes)


def delete_floatingip(call: Call) -> Response:
    """DELETE /floatingips/{id}."""
    record = find_own(call, FLOATING, call.params["id"], "delete")
    address = {"subnet_id": record["subnet_id"], "ip_address": record["floating_ip_address"]}
    release(call.state, [address])
    del call.state.network["floatingip"][record["id"]]
    return answer(204)


GENERIC_ROUTES = [
    route
    for kind in KINDS.values()
    for route in (
        Route("GET", f"v2.0/{kind.plural}", partial(list_records, kind=kind)),
        Route("GET", f"v2.0/{kind.plural}/{{id}}", partial(show_record, kind=kind)),
    )
]
