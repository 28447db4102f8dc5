"""Listeners, pools and health monitors."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Balanced
from slipway_sandbox.cloud.octavia.balancers import check_known
from slipway_sandbox.cloud.octavia.tree import (
    begin_change,
    check_quota,
    children,
    find,
    monitor_of,
    require_balancer_role,
    require_mutable,
)
from slipway_sandbox.cloud.octavia.views import PLURALS, listing, view
from slipway_sandbox.cloud.service import Call, Route

ALWAYS: Json = {"name": "", "admin_state_up": True, "tags": []}
GIVEN: dict[str, Json] = {
    "listener": {
        **ALWAYS,
        "description": "",
        "protocol": None,
        "protocol_port": None,
        "connection_limit": -1,
        "timeout_client_data": 50000,
        "timeout_member_connect": 5000,
        "timeout_member_data": 50000,
        "timeout_tcp_inspect": 0,
        "insert_headers": {},
        "allowed_cidrs": None,
        "default_tls_container_ref": None,
        "sni_container_refs": [],
        "client_authentication": "NONE",
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
    },
    "pool": {
        **ALWAYS,
        "description": "",
        "protocol": None,
        "lb_algorithm": None,
        "session_persistence": None,
        "tls_enabled": False,
        "tls_ciphers": None,
        "tls_versions": None,
        "alpn_protocols": None,
    },
    "healthmonitor": {
        **ALWAYS,
        "type": None,
        "delay": None,
        "timeout": None,
        "max_retries": None,
        "max_retries_down": 3,
        "http_method": None,
        "url_path": None,
        "expected_codes": None,
        "http_version": None,
        "domain_name": None,
    },
}
CHOICES = {
    ("listener", "protocol"): ("HTTP", "UDP", "TERMINATED_HTTPS", "SCTP", "PROMETHEUS", "TCP", "HTTPS"),
    ("pool", "protocol"): ("HTTP", "HTTPS", "PROXY", "PROXYV2", "SCTP", "TCP", "UDP"),
    ("pool", "lb_algorithm"): ("ROUND_ROBIN", "LEAST_CONNECTIONS", "SOURCE_IP", "SOURCE_IP_PORT"),
    ("healthmonitor", "type"): ("HTTP", "HTTPS", "PING", "SCTP", "TCP", "TLS-HELLO", "UDP-CONNECT"),
}
PLACES = {
    "listener": {"loadbalancer_id", "default_pool_id"},
    "pool": {"listener_id", "loadbalancer_id"},
    "healthmonitor": {"pool_id"},
}
REQUIRED = {
    "listener": ("protocol", "protocol_port"),
    "pool": ("protocol", "lb_algorithm"),
    "healthmonitor": ("type", "delay", "timeout", "max_retries"),
}
QUOTAS = {"listener": "listener", "pool": "pool", "healthmonitor": "health_monitor"}
HTTP_DEFAULTS = {"http_method": "GET", "url_path": "/", "expected_codes": "200"}
FIXED = {"protocol", "protocol_port", "type"}


def check_values(kind: str, body: Json) -> None:
    """Octavia's 400 for a value that is none of the choices."""
    for (of, name), choices in CHOICES.items():
        if of == kind and body.get(name) is not None and body[name] not in choices:
            raise invalid(name, body[name], f"Value should be one of: {', '.join(choices)}")


def invalid(name: str, value: Any, why: str) -> Refused:
    """Octavia's 400 for one attribute."""
    return Refused(400, f"Invalid input for field/attribute {name}. Value: '{value}'. {why}")


def create_part(call: Call, kind: str) -> Response:
    """POST of a listener, a pool or a health monitor."""
    require_balancer_role(call)
    body = call.body(kind)
    check_known(body, {*GIVEN[kind], *PLACES[kind], "project_id", "tenant_id"})
    for name in REQUIRED[kind]:
        if body.get(name) is None:
            raise invalid(name, body.get(name), "Mandatory field missing.")
    check_values(kind, body)
    state = call.state
    parent, balancer_id = _place(call, kind, body)
    fields = {name: body.get(name, copy(default)) for name, default in GIVEN[kind].items()}
    if kind == "healthmonitor" and fields["type"] in ("HTTP", "HTTPS"):
        fields |= {name: fields[name] or default for name, default in HTTP_DEFAULTS.items()}
    part = Balanced(
        kind=kind,
        id=state.new_uuid(),
        project_id=parent.project_id,
        body=fields,
        created=state.now(),
        balancer_id=balancer_id,
        listener_id=parent.id if parent.kind == "listener" else None,
        pool_id=parent.id if parent.kind == "pool" else None,
    )
    attached = find(call, "pool", str(body["default_pool_id"])) if body.get("default_pool_id") else None
    _refuse_second(call, part)
    check_quota(state, parent.project_id, QUOTAS[kind], kind)
    require_mutable(state, balancer_id, parent if kind != "pool" else state.balanced[balancer_id])
    state.balanced[part.id] = part
    if attached is not None:
        attached.listener_id = part.id
    begin_change(state, [part], "PENDING_CREATE")
    return answer(201, {kind: view(state, part)})


def _place(call: Call, kind: str, body: Json) -> tuple[Balanced, str]:
    for name in ("listener_id", "pool_id", "loadbalancer_id"):
        if name in PLACES[kind] and body.get(name):
            parent = find(call, name.removesuffix("_id"), str(body[name]))
            return parent, parent.balancer_id
    names = sorted(PLACES[kind] - {"default_pool_id"})
    raise Refused(400, f"Validation failure: {' or '.join(names)} is required.")


def _refuse_second(call: Call, part: Balanced) -> None:
    state = call.state
    if part.kind == "listener":
        protocol, port = part.body["protocol"], part.body["protocol_port"]
        for other in children(state, "listener", balancer_id=part.balancer_id):
            if (other.body["protocol"], other.body["protocol_port"]) == (protocol, port):
                raise Refused(
                    409,
                    f"Another Listener on this Load Balancer is already using protocol {protocol} and"
                    f" protocol_port {port}",
                )
    elif part.kind == "pool" and part.listener_id and children(state, "pool", listener_id=part.listener_id):
        raise Refused(409, "This listener already has a default pool")
    elif part.kind == "healthmonitor" and monitor_of(state, part.pool_id or ""):
        raise Refused(409, "This pool already has a health monitor")


def list_parts(call: Call, kind: str) -> Response:
    """GET of all listeners, pools or health monitors."""
    return listing(call, kind, [item for item in call.state.balanced.values() if item.kind == kind])


def show_part(call: Call, kind: str) -> Response:
    """GET of one."""
    return answer(200, {kind: view(call.state, find(call, kind, call.params["id"]))})


def update_part(call: Call, kind: str) -> Response:
    """PUT of one."""
    part = find(call, kind, call.params["id"])
    body = call.body(kind)
    check_known(body, set(GIVEN[kind]) - FIXED)
    check_values(kind, body)
    require_mutable(call.state, part.balancer_id, part)
    part.body.update(body)
    begin_change(call.state, [part], "PENDING_UPDATE")
    return answer(200, {kind: view(call.state, part)})


def delete_part(call: Call, kind: str) -> Response:
    """DELETE of one; a pool takes its members and its monitor with it, a listener leaves its pool."""
    state, part = call.state, find(call, kind, call.params["id"])
    require_mutable(state, part.balancer_id, part)
    going = [part]
    if kind == "pool":
        going += [item for item in state.balanced.values() if item.pool_id == part.id]
    if kind == "listener":
        for pool in children(state, "pool", listener_id=part.id):
            pool.listener_id = None
    begin_change(state, going, "PENDING_DELETE")
    return answer(204)


PART_ROUTES = [
    route
    for root in ("v2.0/lbaas", "v2/lbaas")
    for kind in GIVEN
    for route in (
        Route("GET", f"{root}/{PLURALS[kind]}", partial(list_parts, kind=kind)),
        Route("POST", f"{root}/{PLURALS[kind]}", partial(create_part, kind=kind)),
        Route("GET", f"{root}/{PLURALS[kind]}/{{id}}", partial(show_part, kind=kind)),
        Route("PUT", f"{root}/{PLURALS[kind]}/{{id}}", partial(update_part, kind=kind)),
        Route("DELETE", f"{root}/{PLURALS[kind]}/{{id}}", partial(delete_part, kind=kind)),
    )
]
