"""Builds the ASGI application: routes, and the one place where errors become problem details."""

import re
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_api.changes import RequestContext
from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.gateway import Gateway
from slipway_api.metrics import WebMetrics
from slipway_api.rest import clusters, events, operations, pools
from slipway_api.rest.answering import PROBLEM_JSON
from slipway_api.rest.description import DescribedAPI
from slipway_api.rest.translation import translate_status, translate_validation
from slipway_chassis import telemetry
from slipway_chassis.database import is_away
from slipway_chassis.ids import new_id

log = structlog.get_logger()

ROUTERS = (clusters.router, pools.router, operations.router, events.router)
LARGEST_BODY = 1_000_000
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_LOOKING = {"GET", "HEAD", "OPTIONS"}

DESCRIPTION = """Clusters of Kubernetes in your own project of the cloud.

Send a Keystone token, scoped to a project, in `X-Auth-Token`. Everything long is answered with 202 and an operation;
follow it at `/v1/operations/{id}` or in the stream `/v1/events`. Errors are problem details (RFC 9457) whose `code` is
stable and whose `errors` name each field with its remedy. `Idempotency-Key` makes a repeated request harmless,
`If-Match` with a cluster's `ETag` makes a change conditional."""


def build_web(gateway: Gateway) -> ASGIApp:
    """The REST API of this gateway."""
    return _Envelope(build_fastapi(), gateway)


@cache
def build_fastapi() -> FastAPI:
    """The application without its envelope: the same for every gateway, which comes with each request."""
    app = DescribedAPI(
        title="Slipway",
        version="1",
        description=DESCRIPTION,
        openapi_url="/v1/openapi.json",
        docs_url="/v1/docs",
        redoc_url=None,
        max_body_size=LARGEST_BODY,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Problem, _on_problem)
    return app


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for this class"
    route = request.scope.get("route")
    problem = translate_validation(
        error.errors(),
        method=request.method,
        path=getattr(route, "path", request.url.path),
        content_type=request.headers.get("content-type"),
    )
    return await _answer(request, problem)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for this class"
    return await _answer(request, translate_status(error.status_code, str(error.detail), _methods(request)))


def _methods(request: Request) -> str:
    """All methods of the path; Starlette names only those of the first route that has it."""
    found: set[str] = set()
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, Route) and route.path_regex.match(request.url.path):
                found |= route.methods or set()
    return ", ".join(sorted(found))


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem), "registered for this class"
    return await _answer(request, error)


async def _answer(request: Request, problem: Problem) -> Response:
    """The problem as an answer; a refused change is in the audit log too."""
    if request.method not in _LOOKING:
        gateway: Gateway = request.state.gateway
        context = RequestContext(
            request_id=request.state.request_id,
            action=f"{request.method} {request.url.path}",
            remote=request.client.host if request.client else None,
        )
        caller = getattr(request.state, "caller", None)
        await gateway.changes.audit(caller, context, problem.status, problem.code)
    return _problem_response(problem, request.state.request_id)


def _problem_response(problem: Problem, request_id: str) -> Response:
    headers = dict(problem.headers)
    if problem.status == 401:
        headers["WWW-Authenticate"] = "Keystone"
    return JSONResponse(
        problem.document(f"urn:slipway:request:{request_id}"),
        status_code=problem.status,
        headers=headers,
        media_type=PROBLEM_JSON,
    )


class _Envelope:
    """Gives each request its id, and answers what nobody else did."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway
        self._metrics = WebMetrics(gateway.service.registry)
        self._metrics.streams.set_function(lambda: gateway.feed.followers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "gateway": self._gateway}
        started = False
        began = self._gateway.service.clock.now()

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._measure(scope, int(message["status"]), began)
                _add_header(message, b"x-request-id", request_id.encode())
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id), self._span(scope, request_id, began):
            try:
                _require_small(scope)
                _require_text(scope)
                await self._app(scope, receive, sending)
            except Problem as problem:
                await _problem_response(problem, request_id)(scope, receive, sending)
            except Exception as mistake:
                if started:
                    raise
                await _problem_response(_unexpected(mistake), request_id)(scope, receive, sending)

    def _span(self, scope: Scope, request_id: str, began: datetime) -> AbstractContextManager[telemetry.Span]:
        """The request's span: a look begins no trace of its own, for people and their programs look all the time."""
        parent = _header(scope, b"traceparent")
        return self._gateway.service.tracing.span(
            scope["method"],
            at=began,
            parent=parent if parent is not None and telemetry.is_traceparent(parent) else None,
            kind=telemetry.SpanKind.SERVER,
            begins=scope["method"] not in _LOOKING,
            request_id=request_id,
        )

    def _measure(self, scope: Scope, status: int, began: datetime) -> None:
        # the route's pattern, never the path itself: that would be a time series for each object
        path = getattr(scope.get("route"), "path", "other")
        took = (self._gateway.service.clock.now() - began).total_seconds()
        span = telemetry.present()
        if span is not None:
            span.keep()
            span.describe(f"{scope['method']} {path}", **{"http.response.status_code": status})
            span.error = str(status) if status >= 500 else None
        self._metrics.requests.labels(method=scope["method"], path=path, status=str(status)).inc()
        self._metrics.seconds.labels(method=scope["method"], path=path).observe(took)
        if scope["method"] not in _LOOKING:
            log.info("Request answered", method=scope["method"], path=scope["path"], status=status, seconds=took)

    def _request_id(self, scope: Scope) -> str:
        given = _header(scope, b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        return new_id(self._gateway.service.clock.now(), self._gateway.service.random)


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _require_small(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > LARGEST_BODY:
            raise translate_status(413, "", "")


def _require_text(scope: Scope) -> None:
    """A NUL character is in no name, and PostgreSQL takes none, not even to look for it."""
    if "\0" in scope["path"]:
        raise translate_status(404, "", "")
    if b"\0" in unquote_to_bytes(scope["query_string"]):
        message, remedy = "a NUL character (%00) is part of no value", "Leave it out."
        raise Problem("invalid_field", f"query: {message}", (FieldProblem("invalid_field", "query", message, remedy),))


def _unexpected(mistake: Exception) -> Problem:
    if is_away(mistake):
        log.warning("Database away", error=repr(mistake))
        return Problem("database_unavailable", "The database does not answer; try again.", headers={"Retry-After": "5"})
    log.error("Request failed", exc_info=mistake)
    return Problem("internal_error", "Something went wrong here; the request's id helps an operator to find out what.")


def _add_header(message: MutableMapping[str, Any], name: bytes, value: bytes) -> None:
    message["headers"] = [*message.get("headers", []), (name, value)]
