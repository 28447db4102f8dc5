"""Answers that are stored or that carry an entity tag."""

from typing import Any

from fastapi import Response

from slipway_api.changes import Answer
from slipway_api.domain.views import AcceptedView

PROBLEM_JSON = "application/problem+json"


def respond(answer: Answer) -> Response:
    """The stored answer as it is."""
    return Response(answer.body, answer.status, dict(answer.headers), media_type="application/json")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI: these statuses are problem details."""
    telling = {
        400: "not JSON",
        401: "the token is missing, wrong or expired",
        403: "the role does not allow this",
        404: "no such thing in the project",
        409: "something stands in the way: a name that is taken, a quota, another change",
        412: "If-Match names another version",
        422: "a field is not acceptable; `errors` says which and what to do",
        503: "Keystone, the cloud or a provisioner does not answer",
    }
    schema = {"$ref": "#/components/schemas/ProblemView"}
    return {
        status: {"description": telling[status], "content": {PROBLEM_JSON: {"schema": schema}}} for status in statuses
    }


LOOKING = problems(401, 404, 422, 503)
LISTING = problems(401, 422, 503)
CHANGING: dict[int | str, dict[str, Any]] = {
    202: {
        "model": AcceptedView,
        "description": "accepted; the operation tells how it goes on",
        "headers": {
            "Location": {"description": "the operation", "schema": {"type": "string"}},
            "ETag": {"description": "the cluster's new version", "schema": {"type": "string"}},
        },
    },
    **problems(400, 401, 403, 404, 409, 412, 422, 503),
}
