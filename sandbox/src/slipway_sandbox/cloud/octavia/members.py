"""Pool members: one by one, or all at once."""

from __future__ import annotations

import ipaddress

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Balanced
from slipway_sandbox.cloud.octavia.balancers import check_known
from slipway_sandbox.cloud.octavia.parts import invalid
from slipway_sandbox.cloud.octavia.tree import begin_change, check_quota, children, find, require_mutable
from slipway_sandbox.cloud.octavia.views import listing, view
from slipway_sandbox.cloud.service import Call, Route

GIVEN: Json = {
    "name": "",
    "admin_state_up": True,
    "address": None,
    "protocol_port": None,
    "weight": 1,
    "backup": False,
    "subnet_id": None,
    "monitor_address": None,
    "monitor_port": None,
    "tags": [],
}
CHANGEABLE = {"name", "admin_state_up", "weight", "backup", "monitor_address", "monitor_port", "tags"}


def _member(call: Call) -> Balanced:
    find(call, "pool", call.params["pool"])
    member = find(call, "member", call.params["id"])
    if member.pool_id != call.params["pool"]:
        raise Refused(404, f"member {member.id} not found.")
    return member


def _checked(body: Json) -> Json:
    check_known(body, {*GIVEN, "project_id", "tenant_id"})
    try:
        ipaddress.ip_address(str(body.get("address")))
    except ValueError as error:
        raise invalid("address", body.get("address"), "Value should be IPv4 or IPv6 format") from error
    if not isinstance(body.get("protocol_port"), int):
        raise invalid("protocol_port", body.get("protocol_port"), "Mandatory field missing.")
    return {name: body.get(name, default) for name, default in GIVEN.items()}


def _new(call: Call, pool: Balanced, fields: Json) -> Balanced:
    state = call.state
    member = Balanced(
        kind="member",
        id=state.new_uuid(),
        project_id=pool.project_id,
        body=fields,
        created=state.now(),
        balancer_id=pool.balancer_id,
        listener_id=pool.listener_id,
        pool_id=pool.id,
    )
    state.balanced[member.id] = member
    return member


def _place(fields: Json) -> tuple[str, int]:
    return fields["address"], fields["protocol_port"]


def list_members(call: Call) -> Response:
    """GET /lbaas/pools/{pool}/members."""
    pool = find(call, "pool", call.params["pool"])
    return listing(call, "member", children(call.state, "member", pool_id=pool.id))


def show_member(call: Call) -> Response:
    """GET of one member."""
    return answer(200, {"member": view(call.state, _member(call))})


def create_member(call: Call) -> Response:
    """POST of one member."""
    pool = find(call, "pool", call.params["pool"])
    fields = _checked(call.body("member"))
    address, port = _place(fields)
    if any(_place(m.body) == (address, port) for m in children(call.state, "member", pool_id=pool.id)):
        raise Refused(
            409,
            f"Another member on this pool is already using ip {address} on protocol_port {port}",
        )
    check_quota(call.state, pool.project_id, "member", "member")
    require_mutable(call.state, pool.balancer_id, pool)
    member = _new(call, pool, fields)
    begin_change(call.state, [member], "PENDING_CREATE")
    return answer(201, {"member": view(call.state, member)})


def update_member(call: Call) -> Response:
    """PUT of one member."""
    member = _member(call)
    body = call.body("member")
    check_known(body, CHANGEABLE)
    require_mutable(call.state, member.balancer_id, call.state.balanced[member.pool_id or ""])
    member.body.update(body)
    begin_change(call.state, [member], "PENDING_UPDATE")
    return answer(200, {"member": view(call.state, member)})


def delete_member(call: Call) -> Response:
    """DELETE of one member."""
    member = _member(call)
    require_mutable(call.state, member.balancer_id, call.state.balanced[member.pool_id or ""])
    begin_change(call.state, [member], "PENDING_DELETE")
    return answer(204)


def replace_members(call: Call) -> Response:
    """PUT of the whole list: what is not in it goes, unless `additive_only`."""
    state, pool = call.state, find(call, "pool", call.params["pool"])
    wanted = {_place(fields): fields for fields in map(_checked, call.request.json().get("members", []))}
    additive = (call.request.first("additive_only") or "").lower() == "true"
    require_mutable(state, pool.balancer_id, pool)
    old = {_place(member.body): member for member in children(state, "member", pool_id=pool.id)}
    check_quota(state, pool.project_id, "member", "member", len(wanted.keys() - old.keys()))
    for place in wanted.keys() & old.keys():
        old[place].body.update({name: wanted[place][name] for name in CHANGEABLE})
        begin_change(state, [old[place]], "PENDING_UPDATE")
    for place, fields in wanted.items():
        if place not in old:
            begin_change(state, [_new(call, pool, fields)], "PENDING_CREATE")
    for place, member in old.items():
        if place not in wanted and not additive:
            begin_change(state, [member], "PENDING_DELETE")
    return answer(202)


MEMBER_ROUTES = [
    route
    for root in ("v2.0/lbaas", "v2/lbaas")
    for route in (
        Route("GET", f"{root}/pools/{{pool}}/members", list_members),
        Route("POST", f"{root}/pools/{{pool}}/members", create_member),
        Route("PUT", f"{root}/pools/{{pool}}/members", replace_members),
        Route("GET", f"{root}/pools/{{pool}}/members/{{id}}", show_member),
        Route("PUT", f"{root}/pools/{{pool}}/members/{{id}}", update_member),
        Route("DELETE", f"{root}/pools/{{pool}}/members/{{id}}", delete_member),
    )
]
