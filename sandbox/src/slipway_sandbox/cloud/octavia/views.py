"""How Octavia words its objects."""

from __future__ import annotations

from urllib.parse import urlencode

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Balanced
from slipway_sandbox.cloud.octavia.tree import (
    OWNED_PORT,
    children,
    ids,
    monitor_of,
    operating_status,
    require_balancer_role,
)
from slipway_sandbox.cloud.service import Call, matches_tags
from slipway_sandbox.cloud.state import State

PLURALS = {
    "loadbalancer": "loadbalancers",
    "listener": "listeners",
    "pool": "pools",
    "member": "members",
    "healthmonitor": "healthmonitors",
}
CONTROL = {"limit", "marker", "fields", "tags", "tags-any", "not-tags", "not-tags-any", "sort"}


def view(state: State, item: Balanced) -> Json:
    """The full form of an object."""
    shown = {key: value for key, value in item.body.items() if key != OWNED_PORT}
    return {
        "id": item.id,
        **shown,
        **_relations(state, item),
        "provisioning_status": item.provisioning,
        "operating_status": operating_status(state, item),
        "project_id": item.project_id,
        "tenant_id": item.project_id,
        "created_at": item.created.strftime("%Y-%m-%dT%H:%M:%S"),
        "updated_at": item.updated.strftime("%Y-%m-%dT%H:%M:%S") if item.updated else None,
    }


def _relations(state: State, item: Balanced) -> Json:
    balancer = [{"id": item.balancer_id}]
    if item.kind == "loadbalancer":
        return {
            "listeners": ids(children(state, "listener", balancer_id=item.id)),
            "pools": ids(children(state, "pool", balancer_id=item.id)),
        }
    if item.kind == "listener":
        pool = next(iter(children(state, "pool", listener_id=item.id)), None)
        return {"loadbalancers": balancer, "default_pool_id": pool.id if pool else None, "l7policies": []}
    if item.kind == "pool":
        monitor = monitor_of(state, item.id)
        return {
            "loadbalancers": balancer,
            "listeners": [{"id": item.listener_id}] if item.listener_id else [],
            "members": ids(children(state, "member", pool_id=item.id)),
            "healthmonitor_id": monitor.id if monitor else None,
        }
    if item.kind == "healthmonitor":
        return {"pools": [{"id": item.pool_id}]}
    return {}


def listing(call: Call, kind: str, items: list[Balanced]) -> Response:
    """A list of the caller's objects with Octavia's filters, marker and limit."""
    require_balancer_role(call)
    state, request = call.state, call.request
    own = [i for i in items if call.caller.is_admin or i.project_id == call.caller.project]
    shown = [view(state, i) for i in own if matches_tags(request, i.body.get("tags", []))]
    for name, wanted in request.query.items():
        if name not in CONTROL:
            shown = [s for s in shown if str(s.get(name)) in wanted]
    marker = request.first("marker")
    if marker:
        known = [s["id"] for s in shown]
        if marker not in known:
            raise Refused(404, f"{kind} {marker} not found.")
        shown = shown[known.index(marker) + 1 :]
    limit = int(request.first("limit") or 0)
    plural, links = PLURALS[kind], []
    if limit and shown[:limit]:
        shown = shown[:limit]
        if len(shown) == limit:
            query = {name: values for name, values in request.query.items() if name != "marker"}
            link = urlencode({**query, "marker": shown[-1]["id"]}, doseq=True)
            path = request.path.split("/", 2)[2]
            links = [{"rel": "next", "href": f"{call.base}/{path}?{link}"}]
    return answer(200, {plural: shown, f"{plural}_links": links})


def brief(state: State, item: Balanced) -> Json:
    """The form in the status tree."""
    return {
        "id": item.id,
        "name": item.body.get("name", ""),
        "provisioning_status": item.provisioning,
        "operating_status": operating_status(state, item),
    }
