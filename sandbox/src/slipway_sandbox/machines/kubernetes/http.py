"""The HTTP shell of a KubernetesModel: TLS, client certificates, streamed watches."""

import asyncio
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from slipway_sandbox.machines.kubernetes import statuses
from slipway_sandbox.machines.kubernetes.model import KubernetesModel
from slipway_sandbox.machines.kubernetes.queries import flag
from slipway_sandbox.machines.kubernetes.rbac import ANONYMOUS, User
from slipway_sandbox.machines.kubernetes.statuses import Refused
from slipway_sandbox.machines.kubernetes.watches import Event, Watch

_HEALTH = ("/healthz", "/livez", "/readyz")
_BOOKMARK_EVERY = 60.0
_WATCH_AT_MOST = 3600.0


class ApiServer:
    """Serves a model on one address. `etcd_ready` says whether the server's etcd answers just now."""

    def __init__(self, model: KubernetesModel, etcd_ready: Callable[[], bool], now: Callable[[], datetime]) -> None:
        self.model = model
        self._etcd_ready = etcd_ready
        self._now = now
        self._http = web.Server(self._handle, access_log=None)
        self._server: asyncio.Server | None = None
        self._stopping = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "start() comes first"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listens. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        # Kept before it serves: a cancellation within create_server would leave its socket open.
        self._server = await loop.create_server(self._http, host, port, ssl=context, start_serving=False)
        await self._server.start_serving()

    async def stop(self) -> None:
        """Closes the listener and every connection."""
        self._stopping.set()
        if self._server is not None:
            self._server.close()
        await self._http.shutdown(timeout=0.1)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith(_HEALTH):
            return self._health(request.path)
        user = self._authenticate(request)
        if user is None:
            return _json(401, Refused(401, "Unauthorized", "Unauthorized").status())
        if not self._etcd_ready():
            return _json(500, statuses.unavailable("etcdserver: request timed out").status())
        query = dict(request.query)
        if request.method == "GET" and flag(query, "watch"):
            try:
                watch = self.model.watch(request.path, query, user)
            except Refused as refused:
                return _json(refused.code, refused.status())
            return await self._stream(request, watch, float(query.get("timeoutSeconds") or _WATCH_AT_MOST))
        body = await request.read()
        status, answer = self.model.answer(request.method, request.path, query, request.headers, body, user)
        return _json(status, answer)

    def _health(self, path: str) -> web.Response:
        if path.startswith("/livez") or self._etcd_ready():
            return web.Response(text="ok")
        text = "[-]etcd failed: reason withheld\nreadyz check failed\n"
        return web.Response(status=500, text=text)

    def _authenticate(self, request: web.BaseRequest) -> User | None:
        """The client certificate's user; anonymous without one; None for credentials that do not hold."""
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        if not certificate:
            return None if "Authorization" in request.headers else ANONYMOUS
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
        if expires <= self._now():
            return None
        subject: dict[str, list[str]] = {}
        for relative in certificate["subject"]:
            for key, value in relative:
                subject.setdefault(key, []).append(value)
        return User((subject.get("commonName") or [""])[-1], tuple(subject.get("organizationName", ())))

    async def _stream(self, request: web.BaseRequest, watch: Watch, seconds: float) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        changed = asyncio.Event()
        unsubscribe = self.model.storage.subscribe(changed.set)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        bookmark_at = loop.time() + _BOOKMARK_EVERY
        try:
            while not self._stopping.is_set():
                changed.clear()
                await _send(response, watch.poll())
                if watch.ended or loop.time() >= deadline:
                    break
                if watch.bookmarks and loop.time() >= bookmark_at:
                    await _send(response, [watch.bookmark()])
                    bookmark_at = loop.time() + _BOOKMARK_EVERY
                await self._wait(changed, min(deadline, bookmark_at) - loop.time())
            if watch.bookmarks and not watch.ended:
                await _send(response, [watch.bookmark()])
            await response.write_eof()
        except ConnectionError:
            return response
        finally:
            unsubscribe()
        return response

    async def _wait(self, changed: asyncio.Event, seconds: float) -> None:
        """Until something was written, the server stops, or the time is over."""
        waits = [asyncio.ensure_future(event.wait()) for event in (changed, self._stopping)]
        try:
            await asyncio.wait(waits, timeout=max(seconds, 0.0), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


async def _send(response: web.StreamResponse, events: list[Event]) -> None:
    if events:
        await response.write("".join(json.dumps(event) + "\n" for event in events).encode())


def _json(status: int, answer: Any) -> web.Response:
    if isinstance(answer, str):
        return web.Response(status=status, text=answer)
    headers = {}
    if status == 429:
        headers["Retry-After"] = str(answer.get("details", {}).get("retryAfterSeconds", 1))
    return web.json_response(answer, status=status, headers=headers)
