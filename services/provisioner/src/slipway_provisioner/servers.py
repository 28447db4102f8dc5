"""The TLS listener for agents and for the signing call: a thin shell around their dispatch functions.

A client certificate is optional in the handshake (an agent has none before its claim); the path decides who is needed.
"""

import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from cryptography import x509

from slipway_provisioner.answers import Answer, problem
from slipway_provisioner.peers import PeerAuthorities, PeerIdentity

log = structlog.get_logger()

Dispatch = Callable[[str, str, Mapping[str, str], Mapping[str, Any] | None, PeerIdentity | None], Awaitable[Answer]]

LARGEST_BODY = 512 * 1024
"""Bytes. A controller's certificate requests are about 8 kB, a report with a log tail 40 kB."""

GRACE = 5.0
"""Seconds that a stop waits for requests in progress; agents repeat theirs."""

_AGENT_PATHS = "/v1/agent/"


def server_context(cert_file: Path, key_file: Path, authorities: PeerAuthorities) -> ssl.SSLContext:
    """TLS with an optional client certificate, strictly verified against both authorities when there is one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert_file, key_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=authorities.bundle)
    return context


def build_application(agents: Dispatch, signing: Dispatch, authorities: PeerAuthorities) -> web.Application:
    """One application for both interfaces."""

    async def handle(request: web.Request) -> web.Response:
        dispatch = agents if request.path.startswith(_AGENT_PATHS) else signing
        try:
            body = await _body(request)
        except (ValueError, RecursionError):  # the latter of a body that is nothing but brackets
            return _response(problem(HTTPStatus.BAD_REQUEST, "InvalidBody", "the body must be a JSON object"))
        try:
            peer = _peer(request, authorities)
            answer = await dispatch(request.method, request.path, dict(request.query), body, peer)
        except Exception:
            log.exception("Request failed", method=request.method, path=request.path)
            answer = problem(HTTPStatus.SERVICE_UNAVAILABLE, "TryAgain", "the service could not do it now; try again")
            answer = Answer(answer.status, answer.body, {"Retry-After": "5"})
        return _response(answer)

    application = web.Application(client_max_size=LARGEST_BODY)
    application.router.add_route("*", "/{path:.*}", handle)
    return application


@contextlib.asynccontextmanager
async def serving(
    application: web.Application,
    context: ssl.SSLContext,
    host: str,
    port: int,
    stop: Callable[[], None] = lambda: None,
) -> AsyncIterator[int]:
    """Serve until left; yields the port. `stop` is called first on leaving, so that what waits is answered."""
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=GRACE)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context, backlog=512).start()
        bound = int(runner.addresses[0][1])
        log.info("Listening for agents and signing", host=host, port=bound)
        yield bound
    finally:
        stop()
        await runner.cleanup()


async def _body(request: web.Request) -> dict[str, Any] | None:
    raw = await request.read()
    if not raw:
        return None
    body = json.loads(raw)
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004  the caller knows one failure
    return body


def _peer(request: web.Request, authorities: PeerAuthorities) -> PeerIdentity | None:
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    der = tls.getpeercert(binary_form=True) if tls is not None else None
    return authorities.identify(x509.load_der_x509_certificate(der)) if der else None


def _response(answer: Answer) -> web.Response:
    headers = dict(answer.headers)
    if isinstance(answer.body, bytes):
        return web.Response(status=answer.status, body=answer.body, headers=headers)
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    kind = "application/problem+json" if answer.status >= HTTPStatus.BAD_REQUEST else "application/json"
    return web.Response(status=answer.status, text=json.dumps(answer.body), content_type=kind, headers=headers)
