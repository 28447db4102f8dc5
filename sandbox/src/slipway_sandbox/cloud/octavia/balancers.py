"""Load balancers: the root of each tree."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import STOCK_BALANCER_QUOTA, Balanced
from slipway_sandbox.cloud.neutron.binding import make_port, may_use_network
from slipway_sandbox.cloud.octavia.tree import (
    FORBIDDEN,
    OWNED_PORT,
    begin_balancer,
    check_quota,
    children,
    find,
    monitor_of,
    require_balancer_role,
    require_mutable,
)
from slipway_sandbox.cloud.octavia.views import brief, listing, view
from slipway_sandbox.cloud.service import Call, Route

MINOR_VERSIONS = 27
GIVEN = {"name": "", "description": "", "admin_state_up": True, "tags": []}
KNOWN = {
    *GIVEN, "vip_port_id", "vip_subnet_id", "vip_network_id", "vip_address", "project_id", "tenant_id", "provider",
    "flavor_id", "availability_zone", "vip_qos_policy_id", "additional_vips", "listeners", "pools",
}  # fmt: skip


def list_versions(call: Call) -> Response:
    """Octavia's versions, all at one address."""
    links = [{"rel": "self", "href": f"{call.base}/v2"}]
    versions = [
        {
            "id": f"v2.{minor}",
            "status": "CURRENT" if minor == MINOR_VERSIONS - 1 else "SUPPORTED",
            "updated": "2022-01-01T00:00:00Z",
            "links": links,
        }
        for minor in range(MINOR_VERSIONS)
    ]
    return answer(200, {"versions": versions})


def list_balancers(call: Call) -> Response:
    """GET /lbaas/loadbalancers."""
    return listing(call, "loadbalancer", [i for i in call.state.balanced.values() if i.kind == "loadbalancer"])


def show_balancer(call: Call) -> Response:
    """GET /lbaas/loadbalancers/{id}."""
    return answer(200, {"loadbalancer": view(call.state, find(call, "loadbalancer", call.params["id"]))})


def check_known(body: Json, known: set[str]) -> None:
    """Octavia's 400 for attributes it does not have."""
    for name in body:
        if name not in known:
            raise Refused(400, f"Unknown attribute for argument {name}: {name}")


def create_balancer(call: Call) -> Response:
    """POST /lbaas/loadbalancers on a port of one's own or on a subnet."""
    require_balancer_role(call)
    body = call.body("loadbalancer")
    check_known(body, KNOWN)
    if not any(body.get(key) for key in ("vip_port_id", "vip_subnet_id", "vip_network_id")):
        raise Refused(
            400,
            "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id.",
        )
    state, project_id = call.state, call.caller.project
    check_quota(state, project_id, "load_balancer", "loadbalancer")
    balancer_id = state.new_uuid()
    vip = _vip(call, body, balancer_id)
    balancer = Balanced(
        kind="loadbalancer",
        id=balancer_id,
        project_id=project_id,
        body={
            **{key: body.get(key, default) for key, default in GIVEN.items()},
            **vip,
            "additional_vips": [],
            "provider": body.get("provider") or "sandbox",
            "flavor_id": None,
            "vip_qos_policy_id": None,
            "availability_zone": body.get("availability_zone"),
        },
        created=state.now(),
        balancer_id=balancer_id,
    )
    state.balanced[balancer_id] = balancer
    begin_balancer(state, balancer, "PENDING_CREATE", state.times.balancer_create)
    return answer(201, {"loadbalancer": view(state, balancer)})


def _vip(call: Call, body: Json, balancer_id: str) -> Json:
    port_id = body.get("vip_port_id")
    if port_id:
        port = call.state.network["port"].get(port_id)
        if port is None or not (call.caller.is_admin or port["project_id"] == call.caller.project):
            raise Refused(400, f"Port {port_id} not found.")
        return _vip_of(port, owned=False)
    subnet_id = body.get("vip_subnet_id")
    networks = call.state.network["network"]
    if subnet_id:
        subnet = call.state.network["subnet"].get(subnet_id)
        if subnet is None or not may_use_network(networks[subnet["network_id"]], call.caller.project):
            raise Refused(400, f"Subnet {subnet_id} not found.")
        network_id = subnet["network_id"]
    else:
        network_id = body["vip_network_id"]
        if network_id not in networks or not may_use_network(networks[network_id], call.caller.project):
            raise Refused(400, f"Network {network_id} not found.")
    wish = {"subnet_id": subnet_id} if subnet_id else {}
    if body.get("vip_address"):
        wish["ip_address"] = body["vip_address"]
    fields = {
        "name": f"octavia-lb-{balancer_id}",
        "device_id": f"lb-{balancer_id}",
        "device_owner": "Octavia",
        "fixed_ips": [wish] if wish else [],
    }
    return _vip_of(make_port(call.state, call.caller.project, network_id, None, fields), owned=True)


def _vip_of(port: Json, *, owned: bool) -> Json:
    fixed = port["fixed_ips"][0]
    return {
        "vip_address": fixed["ip_address"],
        "vip_port_id": port["id"],
        "vip_subnet_id": fixed["subnet_id"],
        "vip_network_id": port["network_id"],
        OWNED_PORT: owned,
    }


def update_balancer(call: Call) -> Response:
    """PUT /lbaas/loadbalancers/{id}."""
    balancer = find(call, "loadbalancer", call.params["id"])
    body = call.body("loadbalancer")
    check_known(body, set(GIVEN))
    require_mutable(call.state, balancer.id, balancer)
    balancer.body.update(body)
    begin_balancer(call.state, balancer, "PENDING_UPDATE", call.state.times.balancer_update)
    return answer(200, {"loadbalancer": view(call.state, balancer)})


def delete_balancer(call: Call) -> Response:
    """DELETE /lbaas/loadbalancers/{id}: needs `cascade` while it has children; 409 while pending."""
    balancer = find(call, "loadbalancer", call.params["id"])
    state = call.state
    cascade = (call.request.first("cascade") or "").lower() == "true"
    inside = [i for i in state.balanced.values() if i.balancer_id == balancer.id and i is not balancer]
    if inside and not cascade:
        raise Refused(400, f"Validation failure: Cannot delete Load Balancer {balancer.id} - it has children")
    if balancer.provisioning.startswith("PENDING"):
        raise Refused(409, f"Invalid state {balancer.provisioning} of loadbalancer resource {balancer.id}")
    begin_balancer(state, balancer, "PENDING_DELETE", state.times.balancer_delete)
    return answer(204)


def show_status(call: Call) -> Response:
    """GET /lbaas/loadbalancers/{id}/status: the whole tree."""
    balancer, state = find(call, "loadbalancer", call.params["id"]), call.state
    listeners = []
    for listener in children(state, "listener", balancer_id=balancer.id):
        pools = []
        for pool in children(state, "pool", listener_id=listener.id):
            members = children(state, "member", pool_id=pool.id)
            tree = brief(state, pool)
            monitor = monitor_of(state, pool.id)
            if monitor:
                tree["health_monitor"] = {**brief(state, monitor), "type": monitor.body["type"]}
            places = ("address", "protocol_port")
            tree["members"] = [{**brief(state, m), **{key: m.body[key] for key in places}} for m in members]
            pools.append(tree)
        listeners.append({**brief(state, listener), "pools": pools})
    return answer(200, {"statuses": {"loadbalancer": {**brief(state, balancer), "listeners": listeners}}})


def show_stats(call: Call) -> Response:
    """GET /lbaas/loadbalancers/{id}/stats: this cloud counts nothing."""
    find(call, "loadbalancer", call.params["id"])
    names = ("bytes_in", "bytes_out", "active_connections", "total_connections", "request_errors")
    return answer(200, {"stats": dict.fromkeys(names, 0)})


def show_quota(call: Call) -> Response:
    """GET /lbaas/quotas/{project}."""
    require_balancer_role(call)
    wanted = call.params["id"]
    if wanted != call.caller.project and not call.caller.is_admin:
        raise Refused(403, FORBIDDEN)
    project = call.state.projects.get(wanted)
    return answer(200, {"quota": project.balancer_quota if project else STOCK_BALANCER_QUOTA})


def list_providers(call: Call) -> Response:
    """GET /lbaas/providers."""
    require_balancer_role(call)
    return answer(200, {"providers": [{"name": "sandbox", "description": "The sandbox's own load balancer"}]})


BALANCER_ROUTES = [
    Route("GET", "", list_versions, public=True),
    *(
        route
        for root in ("v2.0/lbaas", "v2/lbaas")
        for route in (
            Route("GET", f"{root}/loadbalancers", list_balancers),
            Route("POST", f"{root}/loadbalancers", create_balancer),
            Route("GET", f"{root}/loadbalancers/{{id}}", show_balancer),
            Route("PUT", f"{root}/loadbalancers/{{id}}", update_balancer),
            Route("DELETE", f"{root}/loadbalancers/{{id}}", delete_balancer),
            Route("GET", f"{root}/loadbalancers/{{id}}/status", show_status),
            Route("GET", f"{root}/loadbalancers/{{id}}/stats", show_stats),
            Route("GET", f"{root}/quotas/{{id}}", show_quota),
            Route("GET", f"{root}/providers", list_providers),
        )
    ),
]
