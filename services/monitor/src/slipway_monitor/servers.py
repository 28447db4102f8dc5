"""The agents' endpoint: a thin TLS shell around ObservationApi. A certificate of the agents' CA is required."""

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web

from slipway_monitor.agent_api import ObservationApi, PeerIdentity
from slipway_monitor.settings import Settings

log = structlog.get_logger()

LARGEST_BODY = 64 * 1024
"""Bytes; an observation has a few hundred."""


@asynccontextmanager
async def serve_agents(api: ObservationApi, settings: Settings) -> AsyncIterator[int]:
    """Serve until the block ends; gives the port. ValueError when a TLS file is not set or cannot be read."""
    runner = web.AppRunner(_application(api), access_log=None, handle_signals=False, shutdown_timeout=5)
    context = tls_context(settings)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.agent_host, settings.agent_port, ssl_context=context)
        await site.start()
        port = int(runner.addresses[0][1])
        log.info("Agents' endpoint listens", host=settings.agent_host, port=port)
        yield port
    finally:
        await runner.cleanup()


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or newer with the monitor's certificate; clients must show one of the agents' CA."""
    files = {
        "tls_cert_file": settings.tls_cert_file,
        "tls_key_file": settings.tls_key_file,
        "agent_ca_cert_file": settings.agent_ca_cert_file,
    }
    for name, path in files.items():
        if path is None or not path.is_file():
            raise ValueError(f"{name}: set SLIPWAY_MONITOR_{name.upper()} to a readable PEM file (it is {path})")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(settings.tls_cert_file), str(settings.tls_key_file))
    context.load_verify_locations(cafile=str(settings.agent_ca_cert_file))
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _application(api: ObservationApi) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        try:
            body = await request.json() if request.can_read_body else None
        except ValueError:
            body = None
        peer = peer_of(request.transport.get_extra_info("peercert") if request.transport else None)
        status, problem = await api.dispatch(request.method, request.path, request.query, body, peer)
        if problem is None:
            return web.Response(status=status)
        return web.json_response(problem, status=status, content_type="application/problem+json")

    application = web.Application(client_max_size=LARGEST_BODY)
    application.router.add_route("*", "/{path:.*}", answer)
    return application


def peer_of(certificate: Mapping[str, Any] | None) -> PeerIdentity | None:
    """The node that a verified certificate (as ssl.getpeercert gives it) names; None if it names none."""
    subject = {key: value for part in (certificate or {}).get("subject", ()) for key, value in part}
    node_id, cluster_id = subject.get("commonName"), subject.get("organizationName")
    return PeerIdentity(node_id, cluster_id) if node_id and cluster_id else None
