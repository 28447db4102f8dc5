"""How each service words a refusal."""

from __future__ import annotations

from http import HTTPStatus

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer

# Cinder words its refusals as Nova does
NOVA_KINDS = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
    409: "conflictingRequest", 413: "overLimit", 429: "overLimit", 503: "serviceUnavailable",
}  # fmt: skip
NO_TOKEN = "The request you have made requires authentication."  # noqa: S105 - a sentence
NO_ROUTE = "The resource could not be found."


def _title(status: int) -> str:
    return HTTPStatus(status).phrase


def unauthorized(service: str, origin: str) -> Response:
    """401 as keystonemiddleware writes it before a service sees the request."""
    where = {"WWW-Authenticate": f'Keystone uri="{origin}/identity/v3"'}
    if service in ("image", "object-store"):
        return _html(401, "This server could not verify that you are authorized.", where)
    body = {"error": {"code": 401, "title": "Unauthorized", "message": NO_TOKEN}}
    return _with(answer(401, body), where)


def no_route(service: str) -> Response:
    """404 for a path that the service does not have."""
    if service == "identity":
        return word(service, Refused(404, NO_ROUTE))
    if service == "network":
        return word(service, Refused(404, NO_ROUTE, "HTTPNotFound"))
    return _html(404, NO_ROUTE, {})


def word(service: str, refusal: Refused) -> Response:
    """A refusal in the service's own body."""
    status, message = refusal.status, refusal.message
    if service in ("image", "object-store"):
        return _html(status, message, refusal.headers)
    bodies: dict[str, Json] = {
        "identity": {"error": {"code": status, "message": message, "title": _title(status)}},
        "compute": {NOVA_KINDS.get(status, "computeFault"): {"code": status, "message": message}},
        "block-storage": {NOVA_KINDS.get(status, "computeFault"): {"code": status, "message": message}},
        "network": {"NeutronError": {"type": refusal.kind or f"HTTP{status}", "message": message, "detail": ""}},
        "load-balancer": {
            "faultcode": "Client" if status < 500 else "Server",
            "faultstring": message,
            "debuginfo": None,
        },
    }
    return _with(answer(status, bodies.get(service, {"error": message})), refusal.headers)


def _with(response: Response, headers: dict[str, str]) -> Response:
    response.headers.update(headers)
    return response


def _html(status: int, message: str, headers: dict[str, str]) -> Response:
    title = f"{status} {_title(status)}"
    text = f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n  <h1>{title}</h1>\n  {message}<br />"
    body = f"{text}<br />\n\n\n\n </body>\n</html>".encode()
    return Response(status, body, {"Content-Type": "text/html; charset=UTF-8", **headers})
