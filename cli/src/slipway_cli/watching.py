"""Follows one operation until it ends: events wake us, the API's objects are what is shown."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.live import Live

from slipway_cli.client import TIMEOUT, path_of, read_answer, unreachable
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.output import console_of
from slipway_cli.progress import line, outcome, picture
from slipway_cli.session import Login
from slipway_cli.stream import PATIENCE, Follower

REDRAW = 1.0
"""Seconds between two pictures at most: ages go on while nothing happens."""
ENDED = ("succeeded", "failed")

Show = Callable[[dict[str, Any], list[dict[str, Any]]], None]


def watch_operation(login: Login, operation_id: str) -> dict[str, Any]:
    """Show the operation until it ends and return it; CommandFailed when it failed, or on Ctrl-C."""
    try:
        operation = asyncio.run(_watch(login, operation_id))
    except KeyboardInterrupt as interrupt:
        raise CommandFailed(
            Exit.DETACHED, f"Detached; the operation goes on. Come back with: slipway operation watch {operation_id}"
        ) from interrupt
    if operation["state"] == "failed":
        raise CommandFailed(Exit.FAILED, f"{outcome(operation)}.")
    sys.stderr.write(f"{outcome(operation)}.\n")
    return operation


async def _watch(login: Login, operation_id: str) -> dict[str, Any]:
    async with _http(login) as http:
        watcher = _Watcher(http, login, operation_id)
        await watcher.look()
        if sys.stderr.isatty():
            return await watcher.draw()
        return await watcher.tell()


class _Watcher:
    """What is known of the operation, and the two ways to show it."""

    def __init__(self, http: httpx.AsyncClient, login: Login, operation_id: str) -> None:
        self._http = http
        self._login = login
        self._path = path_of("operations", operation_id)
        self._token = login.token()
        self.operation: dict[str, Any] = {}
        self.nodes: list[dict[str, Any]] = []

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.operation["state"] in ENDED

    async def look(self) -> None:
        """Read the operation and the cluster's nodes."""
        self.operation = await self._get(self._path)
        self.nodes = []
        path: str | None = f"/v1/clusters/{self.operation['cluster_id']}/nodes?limit=500"
        while path is not None:
            page = await self._get(path)
            self.nodes += page["items"]
            path = f"{path.partition('&')[0]}&marker={page['next']}" if page["next"] else None

    async def draw(self) -> dict[str, Any]:
        """A live picture."""
        woken = asyncio.Event()
        listening = asyncio.create_task(self._listen(woken))
        try:
            with Live(self._picture(), console=console_of(stderr=True), auto_refresh=False, transient=True) as live:
                while not self.ended:
                    await self._woken(woken, listening)
                    await self.look()
                    live.update(self._picture(), refresh=True)
        finally:
            await _cancel(listening)
        return self.operation

    async def tell(self) -> dict[str, Any]:
        """A line for each event."""
        # its first event is the change that was asked for; a cluster's whole history may be long
        first = (await self._get(f"/v1/events?after=0&limit=1&operation={self.operation['id']}"))["items"]
        query = {"cluster": self.operation["cluster_id"], "after": str(first[0]["id"] - 1 if first else 0)}
        begun = self.operation["requested_at"]
        events = Follower(self._http, self._login, query).events()
        while not self.ended:
            event = await anext(events)
            if datetime.fromisoformat(event["time"]) < datetime.fromisoformat(begun):
                continue
            mine = event["operation_id"] == self.operation["id"] and "percent" in event["data"]
            if mine:
                self.operation["percent"] = event["data"]["percent"]
            sys.stderr.write(line(event, self.operation["percent"]) + "\n")
            sys.stderr.flush()
            # the end of a later operation ends those that it replaced
            if event["type"].startswith("operation.") and event["data"].get("state") in ENDED:
                await self.look()
        await events.aclose()
        return self.operation

    def _picture(self) -> Any:
        return picture(self.operation, self.nodes, datetime.now(UTC))

    async def _listen(self, woken: asyncio.Event) -> None:
        follower = Follower(self._http, self._login, {"cluster": self.operation["cluster_id"]})
        async for _ in follower.events():
            woken.set()

    async def _woken(self, woken: asyncio.Event, listening: asyncio.Task[None]) -> None:
        if listening.done():
            listening.result()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), REDRAW)
        woken.clear()

    async def _get(self, path: str) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + PATIENCE
        while True:
            try:
                response = await self._http.get(path, headers={"X-Auth-Token": self._token})
                if response.status_code == 401:
                    self._token = self._login.renew()
                    response = await self._http.get(path, headers={"X-Auth-Token": self._token})
                return read_answer(response)
            except httpx.TransportError as error:
                if loop.time() > patient_until:
                    raise unreachable(self._login.endpoint, error) from error
            except CommandFailed as failure:
                if failure.code is not Exit.UNREACHABLE or loop.time() > patient_until:
                    raise
            await asyncio.sleep(REDRAW)


@asynccontextmanager
async def _http(login: Login) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=login.endpoint, headers=login.headers, timeout=TIMEOUT, verify=login.verify
    ) as http:
        yield http


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, CommandFailed):
        await task


def follow_events(login: Login, query: dict[str, str], show: Callable[[dict[str, Any]], None]) -> None:
    """Show events as they come, until Ctrl-C."""

    async def follow() -> None:
        async with _http(login) as http:
            async for event in Follower(http, login, query).events():
                show(event)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(follow())
