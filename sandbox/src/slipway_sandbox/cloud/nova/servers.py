"""Reading, renaming, tagging and deleting servers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlencode

from slipway_sandbox.cloud.messages import Json, Refused, Request, Response, answer
from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.nova.lifecycle import begin_delete
from slipway_sandbox.cloud.nova.views import addresses_of, brief_server, full_server, server_status
from slipway_sandbox.cloud.service import Call, Route, matches_tags, require_role

MAX_PAGE = 1000
POLICY = "Policy doesn't allow os_compute_api:{} to be performed."
TRUE_WORDS = ("1", "true", "True", "yes", "on", "t")


def find_server(call: Call) -> Server:
    """The server of the request's path; a foreign or deleted one is not found."""
    server = call.state.servers.get(call.params["id"])
    if server is None or server.deleted or not (call.caller.is_admin or server.project_id == call.caller.project):
        raise Refused(404, f"Instance {call.params['id']} could not be found.")
    return server


def list_servers(call: Call) -> Response:
    """GET /servers."""
    return _list(call, detail=False)


def list_servers_detail(call: Call) -> Response:
    """GET /servers/detail."""
    return _list(call, detail=True)


def _list(call: Call, *, detail: bool) -> Response:
    request = call.request
    found = [server for server in reversed(call.state.servers.values()) if _wanted(call, server)]
    marker = request.first("marker")
    if marker:
        ids = [server.id for server in found]
        if marker not in ids:
            raise Refused(400, f"marker [{marker}] not found")
        found = found[ids.index(marker) + 1 :]
    limit = _limit(request)
    page = found[:limit]
    show = full_server if detail else None
    payload: Json = {
        "servers": [show(call, s, single=False) if show else brief_server(call, s) for s in page],
    }
    # Nova offers a next page whenever a page is full, also when nothing follows.
    if page and len(page) == limit:
        query = {key: values for key, values in request.query.items() if key != "marker"}
        link = urlencode({**query, "marker": page[-1].id}, doseq=True)
        path = "servers/detail" if detail else "servers"
        payload["servers_links"] = [{"rel": "next", "href": f"{call.base}/v2.1/{path}?{link}"}]
    return answer(200, payload)


def _limit(request: Request) -> int:
    text = request.first("limit") or str(MAX_PAGE)
    if not text.isdigit():
        raise Refused(
            400,
            f"Invalid input for query parameters limit. Value: {text}. '{text}' does not match '^[0-9]*$'",
        )
    return min(int(text), MAX_PAGE) or MAX_PAGE


def _wanted(call: Call, server: Server) -> bool:
    return _in_scope(call, server) and _since(call.request, server) and _filtered(call, server)


def _in_scope(call: Call, server: Server) -> bool:
    request = call.request
    everywhere = "all_tenants" in request.query and (request.first("all_tenants") or "1") in TRUE_WORDS
    if not everywhere:
        return server.project_id == call.caller.project
    if not call.caller.is_admin:
        raise Refused(403, POLICY.format("servers:index:get_all_tenants"))
    only = request.first("project_id") or request.first("tenant_id")
    return only in (None, server.project_id)


def _since(request: Request, server: Server) -> bool:
    text = request.first("changes-since")
    if text is None:
        wants_dead = (request.first("deleted") or "") in TRUE_WORDS or request.first("status") == "DELETED"
        return wants_dead == server.deleted
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refused(
            400,
            f"Invalid input for query parameters changes-since. Value: {text}. '{text}' is not a 'date-time'",
        ) from error
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return server.updated.replace(microsecond=0) >= aware.replace(microsecond=0)


def _filtered(call: Call, server: Server) -> bool:
    request = call.request
    name, status, host = request.first("name"), request.query.get("status"), request.first("host")
    simple = (
        ("uuid", server.id),
        ("flavor", server.flavor.id),
        ("image", server.image_id),
        ("availability_zone", server.host.zone if server.host else ""),
    )
    if call.caller.is_admin and host and (server.host is None or server.host.name != host):
        return False
    return (
        (name is None or re.search(name, server.name) is not None)
        and (status is None or server_status(server) in [value.upper() for value in status])
        and all(request.first(key) in (None, value) for key, value in simple)
        and matches_tags(request, server.tags)
    )


def show_server(call: Call) -> Response:
    """GET /servers/{id}."""
    return answer(200, {"server": full_server(call, find_server(call), single=True)})


def rename_server(call: Call) -> Response:
    """PUT /servers/{id}: name and description."""
    server = find_server(call)
    require_role(call, POLICY.format("servers:update"))
    body = call.body("server")
    server.name = str(body.get("name", server.name))
    server.description = body.get("description", server.description)
    server.updated = call.state.now()
    return answer(200, {"server": full_server(call, server, single=True)})


def delete_server(call: Call) -> Response:
    """DELETE /servers/{id}: accepted at once, gone after the delete time; a second one is harmless."""
    server = find_server(call)
    require_role(call, POLICY.format("servers:delete"))
    if server.task_state != "deleting":
        begin_delete(call.state, server)
    return answer(204)


def show_metadata(call: Call) -> Response:
    """GET /servers/{id}/metadata."""
    return answer(200, {"metadata": find_server(call).metadata})


def add_metadata(call: Call) -> Response:
    """POST /servers/{id}/metadata: merge."""
    server = find_server(call)
    require_role(call, POLICY.format("server-metadata:create"))
    server.metadata.update({key: str(value) for key, value in call.body("metadata").items()})
    server.updated = call.state.now()
    return answer(200, {"metadata": server.metadata})


def show_tags(call: Call) -> Response:
    """GET /servers/{id}/tags."""
    return answer(200, {"tags": find_server(call).tags})


def replace_tags(call: Call) -> Response:
    """PUT /servers/{id}/tags."""
    server = find_server(call)
    require_role(call, POLICY.format("os-server-tags:update_all"))
    server.tags = sorted({str(tag) for tag in call.request.json().get("tags", [])})
    return answer(200, {"tags": server.tags})


def add_tag(call: Call) -> Response:
    """PUT /servers/{id}/tags/{tag}: 201 when new, 204 when it was there."""
    server, tag = find_server(call), call.params["tag"]
    require_role(call, POLICY.format("os-server-tags:update"))
    if tag in server.tags:
        return answer(204)
    server.tags = sorted([*server.tags, tag])
    return answer(201)


def list_interfaces(call: Call) -> Response:
    """GET /servers/{id}/os-interface: the bound ports."""
    server = find_server(call)
    ports = [call.state.network["port"].get(link.port_id) for link in server.links]
    shown = [
        {
            "net_id": port["network_id"],
            "port_id": port["id"],
            "mac_addr": port["mac_address"],
            "port_state": port["status"],
            "fixed_ips": port["fixed_ips"],
        }
        for port in ports
        if port and port["device_id"] == server.id
    ]
    return answer(200, {"interfaceAttachments": shown})


def list_addresses(call: Call) -> Response:
    """GET /servers/{id}/ips."""
    return answer(200, {"addresses": addresses_of(call.state, find_server(call))})


def list_actions(call: Call) -> Response:
    """GET /servers/{id}/os-instance-actions, newest first."""
    return answer(200, {"instanceActions": list(reversed(find_server(call).actions))})


SERVER_ROUTES = [
    Route("GET", "v2.1/servers", list_servers),
    Route("GET", "v2.1/servers/detail", list_servers_detail),
    Route("GET", "v2.1/servers/{id}", show_server),
    Route("PUT", "v2.1/servers/{id}", rename_server),
    Route("DELETE", "v2.1/servers/{id}", delete_server),
    Route("GET", "v2.1/servers/{id}/metadata", show_metadata),
    Route("POST", "v2.1/servers/{id}/metadata", add_metadata),
    Route("GET", "v2.1/servers/{id}/tags", show_tags),
    Route("PUT", "v2.1/servers/{id}/tags", replace_tags),
    Route("PUT", "v2.1/servers/{id}/tags/{tag}", add_tag),
    Route("GET", "v2.1/servers/{id}/os-interface", list_interfaces),
    Route("GET", "v2.1/servers/{id}/ips", list_addresses),
    Route("GET", "v2.1/servers/{id}/os-instance-actions", list_actions),
]
