"""Neutron's tags, the same for every kind of resource."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.neutron.kinds import BY_PLURAL, Kind, find_own, touch
from slipway_sandbox.cloud.service import Call, Route
from slipway_sandbox.cloud.state import iso_z

MAX_TAG = 255


def _record(call: Call) -> tuple[Kind, Json]:
    kind = BY_PLURAL.get(call.params["plural"])
    if kind is None:
        raise Refused(404, "The resource could not be found.", "HTTPNotFound")
    return kind, find_own(call, kind, call.params["id"], "update")


def _write(call: Call, record: Json, tags: list[str]) -> None:
    record["tags"] = sorted(set(tags))
    touch(record, iso_z(call.state.now()))


def list_tags(call: Call) -> Response:
    """GET .../tags."""
    return answer(200, {"tags": _record(call)[1]["tags"]})


def replace_tags(call: Call) -> Response:
    """PUT .../tags: exactly these."""
    _, record = _record(call)
    tags = call.request.json().get("tags")
    if not isinstance(tags, list) or any(not isinstance(tag, str) or len(tag) > MAX_TAG for tag in tags):
        raise Refused(400, "Invalid input for tags.", "HTTPBadRequest")
    _write(call, record, tags)
    return answer(200, {"tags": record["tags"]})


def clear_tags(call: Call) -> Response:
    """DELETE .../tags."""
    _write(call, _record(call)[1], [])
    return answer(204)


def check_tag(call: Call) -> Response:
    """GET .../tags/{tag}: 204 when it is there."""
    _, record = _record(call)
    if call.params["tag"] not in record["tags"]:
        raise Refused(404, f"Tag {call.params['tag']} could not be found.", "TagNotFound")
    return answer(204)


def add_tag(call: Call) -> Response:
    """PUT .../tags/{tag}."""
    _, record = _record(call)
    _write(call, record, [*record["tags"], call.params["tag"]])
    return answer(201)


def remove_tag(call: Call) -> Response:
    """DELETE .../tags/{tag}."""
    check_tag(call)
    _, record = _record(call)
    _write(call, record, [tag for tag in record["tags"] if tag != call.params["tag"]])
    return answer(204)


TAG_ROUTES = [
    Route("GET", "v2.0/{plural}/{id}/tags", list_tags),
    Route("PUT", "v2.0/{plural}/{id}/tags", replace_tags),
    Route("DELETE", "v2.0/{plural}/{id}/tags", clear_tags),
    Route("GET", "v2.0/{plural}/{id}/tags/{tag}", check_tag),
    Route("PUT", "v2.0/{plural}/{id}/tags/{tag}", add_tag),
    Route("DELETE", "v2.0/{plural}/{id}/tags/{tag}", remove_tag),
]
