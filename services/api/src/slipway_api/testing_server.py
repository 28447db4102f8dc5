"""The api of `testing` on a real port, with a Keystone beside it: for tests of whatever talks to it over HTTP."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from slipway_api.testing import FakeIdentity
from slipway_api.testing_platform import Platform, a_platform
from slipway_chassis.clock import SystemClock

T = TypeVar("T")

PASSWORD = "correct horse"  # noqa: S105  of people who exist in tests alone
READER = "rita"
"""The one person whose role is reader; everybody else is a member."""


class FakeKeystone:
    """Keystone as keystoneauth meets it: discovery, and tokens for a password."""

    def __init__(self, identity: FakeIdentity, url: str) -> None:
        self._identity = identity
        self._url = url
        self.logins = 0
        self.catalogue: list[dict[str, Any]] = []
        self.failing = False

    def build(self) -> Starlette:
        """The HTTP application."""
        return Starlette(routes=[Route("/v3", self.discover), Route("/v3/auth/tokens", self.issue, methods=["POST"])])

    async def discover(self, _: Request) -> Response:
        """The version document."""
        links = [{"rel": "self", "href": f"{self._url}/v3/"}]
        return JSONResponse({"version": {"id": "v3.14", "status": "stable", "links": links}})

    async def issue(self, request: Request) -> Response:
        """A token for the right password."""
        if self.failing:
            return Response("Service Unavailable", 503)
        self.logins += 1
        asked = (await request.json())["auth"]
        user, project = asked["identity"]["password"]["user"], asked["scope"]["project"]["name"]
        if user["password"] != PASSWORD:
            message = "The request you have made requires authentication."
            return JSONResponse({"error": {"code": 401, "message": message, "title": "Unauthorized"}}, 401)
        roles = ("reader",) if user["name"] == READER else ("member",)
        token = self._identity.issue(user["name"], project, roles)
        now = datetime.now(UTC)
        domain = {"id": "default", "name": "Default"}
        body = {
            "methods": ["password"],
            "user": {"id": f"id-of-{user['name']}", "name": user["name"], "domain": domain},
            "project": {"id": f"id-of-{project}", "name": project, "domain": domain},
            "issued_at": now.isoformat(),
            "expires_at": (now + timedelta(hours=1)).isoformat(),
            "roles": [{"id": f"id-of-{role}", "name": role} for role in roles],
            "catalog": self.catalogue,
        }
        return JSONResponse({"token": body}, 201, headers={"X-Subject-Token": token})


@dataclass
class Served:
    """A platform that listens."""

    platform: Platform
    keystone: FakeKeystone
    url: str
    loop: asyncio.AbstractEventLoop

    @property
    def auth_url(self) -> str:
        """Where Keystone is."""
        return f"{self.url}/identity/v3"

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something inside the platform from another thread, bounded."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=10)


@asynccontextmanager
async def listening(config: uvicorn.Config) -> AsyncIterator[int]:
    """Serve on a free port of the loopback, which is given; all connections are closed at the end."""
    config.timeout_graceful_shutdown = 1
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def serving(folder: Path, name: str = "api") -> AsyncIterator[Served]:
    """The platform, served. Two of the same folder and name are two replicas."""
    async with a_platform(folder, clock=SystemClock(), name=name) as platform:
        late = Starlette()
        async with listening(uvicorn.Config(late, log_config=None, lifespan="off")) as port:
            url = f"http://127.0.0.1:{port}"
            keystone = FakeKeystone(platform.identity, f"{url}/identity")
            late.router.routes.extend([Mount("/identity", keystone.build()), Mount("/", platform.web)])
            async with platform.gateway.feed.serving():
                yield Served(platform, keystone, url, asyncio.get_running_loop())


@contextmanager
def serving_in_thread(folder: Path) -> Iterator[Served]:
    """As serving, in a thread of its own, for tests that are not asynchronous themselves."""
    there: dict[str, Any] = {}
    up = threading.Event()

    async def live() -> None:
        stop = asyncio.Event()
        async with serving(folder) as served:
            there.update(served=served, stop=stop)
            up.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(live()), daemon=True)
    thread.start()
    assert up.wait(10), "the platform did not come up"
    served: Served = there["served"]
    try:
        yield served
    finally:
        served.loop.call_soon_threadsafe(there["stop"].set)
        thread.join(10)
        assert not thread.is_alive(), "the platform did not stop"
