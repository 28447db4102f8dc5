"""The emulated cloud on a port: a thin shell around `Cloud.handle`."""

from __future__ import annotations

import asyncio

from aiohttp import web

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.messages import Breakage, Request, Response

MAX_BODY = 256 * 1024 * 1024
LONGER_THAN_ANY_CLIENT = 600.0


class CloudServer:
    """Serves one cloud on 127.0.0.1; `origin` is known once it has started."""

    def __init__(self, cloud: Cloud, port: int = 0, host: str = "127.0.0.1") -> None:
        self.cloud = cloud
        self._host, self._port = host, port
        self._closing = asyncio.Event()
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:<port>`."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen; OSError where the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and let go of delayed answers."""
        self._closing.set()
        await self._runner.cleanup()

    async def _serve(self, asked: web.Request) -> web.StreamResponse:
        answered = self.cloud.handle(
            Request.of(
                asked.method,
                asked.raw_path,
                headers={**asked.headers, "host": asked.headers.get("Host", asked.host)},
                body=await asked.read(),
            )
        )
        if answered.breakage is Breakage.TIMEOUT:
            await self._hold(LONGER_THAN_ANY_CLIENT)
        elif answered.delay:
            await self._hold(answered.delay)
        if answered.breakage is not None:
            return await _break_off(asked, answered)
        return _response(answered)

    async def _hold(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return


def _response(answered: Response) -> web.Response:
    headers = dict(answered.headers)
    if answered.status in (204, 304):
        headers.pop("Content-Type", None)
    return web.Response(status=answered.status, body=answered.body, headers=headers)


async def _break_off(asked: web.Request, answered: Response) -> web.StreamResponse:
    """Close the connection: at once, or in the middle of the body."""
    response = web.StreamResponse(status=answered.status, headers=answered.headers)
    if answered.breakage is Breakage.CUT:
        response.content_length = len(answered.body)
        await response.prepare(asked)
        await response.write(answered.body[: len(answered.body) // 2])
    if asked.transport is not None:
        asked.transport.close()
    return response
