"""From pydantic's and Starlette's errors to problems that name the field and the remedy."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.domain.requests import IMMUTABLE_CLUSTER_FIELDS, IMMUTABLE_POOL_FIELDS

_IMMUTABLE = {
    "/v1/clusters/{cluster}": IMMUTABLE_CLUSTER_FIELDS,
    "/v1/clusters/{cluster}/pools/{pool}": IMMUTABLE_POOL_FIELDS,
}
_REMEDIES = {
    "missing": "Add the field.",
    "extra_forbidden": "Leave it out; the fields are described at /v1/openapi.json.",
    "int_type": "Write a whole number, without quotes.",
    "string_type": "Write a text in quotes.",
    "enum": "Choose one of the values that the message names.",
    "string_pattern_mismatch": "Write it as the pattern says; /v1/openapi.json describes the field.",
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal"),
        "Choose a number within the limit that the message names.",
    ),
}

_OTHERWISE = "Correct it; the fields are described at /v1/openapi.json."


def translate_validation(
    errors: Sequence[Mapping[str, Any]], *, method: str, path: str, content_type: str | None
) -> Problem:
    """The problem for a request that does not have the shape it must have."""
    first = errors[0]
    if first["type"] == "json_invalid":
        why = first.get("ctx", {}).get("error", "it cannot be parsed")
        return Problem("not_json", f"The body is not JSON: {why}.")
    whole_body = tuple(first["loc"]) == ("body",)
    if whole_body and content_type is not None and "json" not in content_type:
        return Problem("unsupported_media_type", f"The body is {content_type}; send application/json.")
    if whole_body and first["type"] != "missing":
        return Problem("not_json", "The body is not a JSON object; send one, with Content-Type: application/json.")
    problems = tuple(_field(error, method, path) for error in errors)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Problem(problems[0].code, f"{problems[0].field}: {problems[0].message}{more}", problems)


def _field(error: Mapping[str, Any], method: str, path: str) -> FieldProblem:
    kind, field = str(error["type"]), field_path(error["loc"])
    if kind == "extra_forbidden":
        if method == "PATCH" and field in _IMMUTABLE.get(path, ()):
            return FieldProblem("immutable_field", field, "this is decided at creation", "Leave it out.")
        return FieldProblem("unknown_field", field, "no such field is known here", _REMEDIES[kind])
    if kind == "missing":
        return FieldProblem("missing_field", field, "this field is needed", _REMEDIES[kind])
    message = str(error["msg"])
    return FieldProblem("invalid_field", field, message[:1].lower() + message[1:], _REMEDIES.get(kind, _OTHERWISE))


def field_path(location: Sequence[str | int]) -> str:
    """`pools[0].count` of ("body", "pools", 0, "count")."""
    path = ""
    for part in location[1:]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or str(location[0])


def translate_status(status: int, detail: str, allowed: str) -> Problem:
    """The problem for what the router refuses: no such path, no such method, a body that is too large."""
    if status == 405:
        return Problem(
            "method_not_allowed",
            f"This path does not take that method{f'; it takes {allowed}' if allowed else ''}.",
            headers={"Allow": allowed} if allowed else {},
        )
    if status == 413:
        return Problem("body_too_large", "The body is larger than any request needs to be (1 MB): send less.")
    if status == 404:
        return Problem("not_found", "There is nothing at this path; /v1/openapi.json describes what there is.")
    return Problem("not_json" if status == 400 else "internal_error", detail)
