"""The emulated cloud as the services reach it: real adapters, calls that take time, requests that outlive their sender.

A process that is killed between sending a request and its answer leaves the request on its way: the cloud may carry
it out seconds later, when the process is already up again.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import requests

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.login import write_clouds_yaml
from slipway_sandbox.cloud.messages import Breakage, Request, Response
from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.transport import ORIGIN, CloudTransport
from slipway_simulation.ground import Ground

T = TypeVar("T")

ANSWER_WITHIN = (0.01, 0.2)
"""Seconds that a call takes."""
LATEST = 25.0
"""Seconds after which a request of a dead process is carried out at the latest: less than the call's own timeout."""


class WatchedCloud(Cloud):
    """Tells after every request that may have changed something, and remembers what the caller suffered."""

    suffered = 0.0
    """Seconds that the last caller waited for nothing."""
    seen: Callable[[Request], None] = staticmethod(lambda _request: None)

    def handle(self, request: Request) -> Response:
        """As Cloud.handle."""
        response = super().handle(request)
        if response.breakage is Breakage.TIMEOUT:
            self.suffered = 30.0
        if request.method != "GET":
            self.seen(request)
        return response


class CloudSide:
    """The cloud, and the ways to it."""

    def __init__(self, folder: Path, ground: Ground) -> None:
        random = ground.chance("cloud")
        times = CloudTimes(
            build=timedelta(seconds=random.choice((2, 5, 15))), delete=timedelta(seconds=random.choice((1, 3)))
        )
        self.cloud = WatchedCloud(ground.clock.now, seed=ground.seed, times=times)
        self.clouds_file = write_clouds_yaml(folder, ORIGIN)
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.mount(ORIGIN, CloudTransport(self.cloud, self._delayed))
        self.stray = 0.5
        """How often a request of a killed process is carried out all the same."""
        self._random = random
        self._journal = ground.journal

    def _delayed(self, delay: timedelta) -> None:
        self.cloud.suffered = delay.total_seconds()

    async def run(self, call: Callable[[], T]) -> T:
        """Runs a blocking call as a thread would: it takes time, and is not undone when its process dies."""
        try:
            await asyncio.sleep(self._random.uniform(*ANSWER_WITHIN))
        except asyncio.CancelledError:
            if self._random.random() < self.stray:
                asyncio.get_running_loop().call_later(self._random.uniform(0, LATEST), self._carry_out, call)
            raise
        self.cloud.suffered = 0.0
        try:
            return call()
        finally:
            await asyncio.sleep(self.cloud.suffered or self._random.uniform(*ANSWER_WITHIN))

    def _carry_out(self, call: Callable[[], Any]) -> None:
        self._journal.say("A request of a dead process reaches the cloud")
        try:
            call()
        except Exception as error:  # noqa: BLE001  nobody is there to hear it
            self._journal.say("It is refused", error=str(error)[:100])

    def client(self) -> httpx.AsyncClient:
        """For adapters that speak HTTP themselves."""
        return httpx.AsyncClient(transport=_InProcess(self.cloud), base_url=ORIGIN, trust_env=False)


class _InProcess(httpx.AsyncBaseTransport):
    """The cloud behind httpx."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        asked = Request.of(request.method, str(request.url), headers=dict(request.headers), body=body)
        answered = self._cloud.handle(asked)
        if answered.breakage is not None:
            raise httpx.ReadTimeout("the sandbox was asked to fail this call", request=request)
        return httpx.Response(answered.status, headers=answered.headers, content=answered.body, request=request)
