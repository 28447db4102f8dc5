"""Server groups: which servers should not share a host."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import ServerGroup
from slipway_sandbox.cloud.nova.servers import POLICY, TRUE_WORDS
from slipway_sandbox.cloud.service import Call, Route, require_role

POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def _view(call: Call, group: ServerGroup) -> Json:
    view: Json = {"id": group.id, "name": group.name, "members": list(group.members)}
    if call.microversion >= (2, 64):
        view |= {"policy": group.policy, "rules": {}}
    else:
        view |= {"policies": [group.policy], "metadata": {}}
    if call.microversion >= (2, 13):
        view |= {"project_id": group.project_id, "user_id": group.user_id}
    return view


def _find(call: Call) -> ServerGroup:
    group = call.state.groups.get(call.params["id"])
    if group is None or not (call.caller.is_admin or group.project_id == call.caller.project):
        raise Refused(404, f"Instance group {call.params['id']} could not be found.")
    return group


def list_groups(call: Call) -> Response:
    """GET /os-server-groups, oldest first, by offset and limit."""
    request = call.request
    everywhere = call.caller.is_admin and (request.first("all_projects") or "") in TRUE_WORDS
    own = [g for g in call.state.groups.values() if everywhere or g.project_id == call.caller.project]
    start = int(request.first("offset") or 0)
    limit = int(request.first("limit") or 1000)
    return answer(200, {"server_groups": [_view(call, group) for group in own[start : start + limit]]})


def create_group(call: Call) -> Response:
    """POST /os-server-groups, in the form of the request's microversion."""
    require_role(call, POLICY.format("os-server-groups:create"))
    body = call.body("server_group")
    modern = call.microversion >= (2, 64)
    key = "policy" if modern else "policies"
    if key not in body:
        raise Refused(
            400,
            f"Invalid input for field/attribute server_group. Value: {body}. '{key}' is a required property",
        )
    policy = body["policy"] if modern else body["policies"][0]
    if policy not in POLICIES:
        raise Refused(
            400,
            f"Invalid input for field/attribute {key}. Value: {body[key]}. '{policy}' is not one of {list(POLICIES)}",
        )
    project = call.state.projects[call.caller.project]
    used = sum(1 for group in call.state.groups.values() if group.project_id == project.id)
    if 0 <= project.compute_quota["server_groups"] <= used:
        raise Refused(403, "Quota exceeded, too many server groups.")
    group = ServerGroup(call.state.new_uuid(), str(body["name"]), policy, project.id, call.caller.user_id)
    call.state.groups[group.id] = group
    return answer(200, {"server_group": _view(call, group)})


def show_group(call: Call) -> Response:
    """GET /os-server-groups/{id}."""
    return answer(200, {"server_group": _view(call, _find(call))})


def delete_group(call: Call) -> Response:
    """DELETE /os-server-groups/{id}; its servers stay."""
    group = _find(call)
    require_role(call, POLICY.format("os-server-groups:delete"))
    del call.state.groups[group.id]
    return answer(204)


GROUP_ROUTES = [
    Route("GET", "v2.1/os-server-groups", list_groups),
    Route("POST", "v2.1/os-server-groups", create_group),
    Route("GET", "v2.1/os-server-groups/{id}", show_group),
    Route("DELETE", "v2.1/os-server-groups/{id}", delete_group),
]
