"""Neutron's lists: what the caller may see, filtered, cut to fields and pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.neutron.kinds import Kind, find_record, is_visible, not_found
from slipway_sandbox.cloud.service import Call, matches_tags
from slipway_sandbox.cloud.state import State

CONTROL = {
    "limit", "marker", "page_reverse", "fields", "sort_key", "sort_dir",
    "tags", "tags-any", "not-tags", "not-tags-any",
}  # fmt: skip


def view(state: State, kind: Kind, record: Json, call: Call) -> Json:
    """A record as this caller sees it, without what is computed or only for administrators."""
    shown = {key: value for key, value in record.items() if key not in kind.only_admin or call.caller.is_admin}
    if kind.name == "network":
        subnets = state.network["subnet"].values()
        shown["subnets"] = [subnet["id"] for subnet in subnets if subnet["network_id"] == record["id"]]
    if kind.name == "security_group":
        rules = state.network["security_group_rule"].values()
        shown["security_group_rules"] = [rule for rule in rules if rule["security_group_id"] == record["id"]]
    fields = call.request.query.get("fields")
    return {key: shown[key] for key in fields if key in shown} if fields else shown


def show_record(call: Call, kind: Kind) -> Response:
    """GET of one record."""
    record = find_record(call, kind, call.params["id"])
    return answer(200, {kind.name: view(call.state, kind, record, call)})


def list_records(call: Call, kind: Kind) -> Response:
    """GET of a collection, with Neutron's filters, `fields`, `limit`, `marker` and `page_reverse`."""
    state, request = call.state, call.request
    every = [record for record in state.network[kind.name].values() if is_visible(state, kind, record, call)]
    found = [record for record in every if _passes(call, kind, record)]
    found.sort(key=lambda record: str(record["id"]))
    for key, direction in zip(request.query.get("sort_key", []), request.query.get("sort_dir", []), strict=False):
        found.sort(key=lambda record, key=key: str(record.get(key)), reverse=direction == "desc")  # type: ignore[misc]
    if (request.first("page_reverse") or "").lower() == "true":
        found.reverse()
    marker = request.first("marker")
    if marker:
        ids = [record["id"] for record in found]
        if marker not in ids:
            raise not_found(kind, marker)
        found = found[ids.index(marker) + 1 :]
    key = kind.plural.replace("-", "_")
    limit = int(request.first("limit") or 0)
    payload: Json = {}
    if limit:
        found = found[:limit]
        if len(found) == limit:
            query = {name: values for name, values in request.query.items() if name != "marker"}
            link = urlencode({**query, "marker": found[-1]["id"]}, doseq=True)
            payload[f"{key}_links"] = [{"rel": "next", "href": f"{call.base}/v2.0/{kind.plural}?{link}"}]
    return answer(200, {key: [view(state, kind, record, call) for record in found], **payload})


def _passes(call: Call, kind: Kind, record: Json) -> bool:
    if not matches_tags(call.request, record["tags"]):
        return False
    for name, wanted in call.request.query.items():
        if name in CONTROL:
            continue
        if name == "fixed_ips" and kind.name == "port":
            if not _has_address(record, wanted):
                return False
        elif name not in record:
            raise Refused(
                400,
                f"Invalid input for operation: ['{name}'] is invalid attribute for filtering.",
                "InvalidInput",
            )
        elif not any(_same(record[name], value) for value in wanted):
            return False
    return True


def _has_address(port: Json, wanted: list[str]) -> bool:
    pairs = [wish.split("=", 1) for wish in wanted if "=" in wish]
    return all(any(fixed.get(key) == value for fixed in port["fixed_ips"]) for key, value in pairs)


def _same(actual: Any, wanted: str) -> bool:
    if isinstance(actual, bool):
        return actual == (wanted.lower() in ("true", "1"))
    if isinstance(actual, list):
        return wanted in actual
    return str(actual if actual is not None else "") == wanted
