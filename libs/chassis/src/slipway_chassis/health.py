"""/livez, /readyz and /metrics of a service, beside its own HTTP interface if it has one.

Liveness depends on nothing outside the process; readiness says what is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

log = structlog.get_logger()

Check = Callable[[], Awaitable[bool]]

CHECKED_WITHIN = 5.0
"""Seconds; what has not answered by then is not there."""

Cause = Callable[[], str | None]


def build_health(
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
    asgi: ASGIApp | None = None,
    causes: Mapping[str, Cause] | None = None,
) -> Starlette:
    """An ASGI application with the health endpoints, and everything else from `asgi`.

    `causes` say, after their check failed, why it did.
    """

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_: Request) -> Response:
        answers = await asyncio.gather(*(_bounded(check) for check in checks.values()))
        results = dict(zip(checks, answers, strict=True))
        ready = all(results.values())
        said = {name: cause() for name, cause in (causes or {}).items() if not results[name]}
        known = {name: cause for name, cause in said.items() if cause is not None}
        return JSONResponse({"ready": ready, "checks": results, "causes": known}, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    routes: list[BaseRoute] = [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]
    if asgi is not None:
        routes.append(Mount("/", app=asgi))
    return Starlette(routes=routes)


async def _bounded(check: Check) -> bool:
    try:
        return await asyncio.wait_for(check(), timeout=CHECKED_WITHIN)
    except TimeoutError:
        return False
    except Exception:
        log.exception("Readiness could not be looked at")
        return False
