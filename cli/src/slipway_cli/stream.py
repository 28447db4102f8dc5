"""The stream of events: Server-Sent Events that are resumed where they broke off."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx

from slipway_cli.client import read_answer, unreachable
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.session import Login

PATIENCE = 120.0
"""Seconds that the API may be away while we follow it."""
PAUSE = 1.0
SILENCE = 60.0
"""Seconds without even a heartbeat until a stream counts as dead."""


class Follower:
    """Follows events; a broken connection is taken up again after the last event that was seen."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        login: Login,
        query: dict[str, str],
        *,
        pause: float = PAUSE,
        patience: float = PATIENCE,
    ) -> None:
        self._http = http
        self._pause = pause
        self._patience = patience
        self._login = login
        self._query = query
        self._last: str | None = None
        self._token = login.token()
        self._opened = False
        """Whether the last connection became a stream."""

    async def events(self) -> AsyncGenerator[dict[str, Any]]:
        """All events, without end; CommandFailed when the API stays away or refuses.

        How long it is away counts from the end of the last stream, however silent that was. A token that is refused is
        renewed once: a stream ends with its token.
        """
        loop = asyncio.get_running_loop()
        away_since, renewed = loop.time(), False
        while True:
            failure: CommandFailed | None = None
            try:
                async for event in self._connected():
                    yield event
            except httpx.TransportError as error:
                failure = unreachable(self._login.endpoint, error)
            except CommandFailed as refusal:
                failure = refusal
            if self._opened:
                away_since, renewed = loop.time(), False
            if failure is not None and failure.code is Exit.AUTH and not renewed:
                failure = self._renew()
                renewed = failure is None
            patient = loop.time() - away_since <= self._patience
            if failure is not None and not (patient and failure.code is Exit.UNREACHABLE):
                raise failure
            await asyncio.sleep(self._pause)

    def _renew(self) -> CommandFailed | None:
        """Another token; what stands in the way, if anything."""
        try:
            self._token = self._login.renew()
        except CommandFailed as failure:
            return failure
        return None

    async def _connected(self) -> AsyncIterator[dict[str, Any]]:
        headers = {"Accept": "text/event-stream", "X-Auth-Token": self._token}
        if self._last is not None:
            headers["Last-Event-ID"] = self._last
        timeout = httpx.Timeout(10.0, read=SILENCE)
        self._opened = False
        async with self._http.stream(
            "GET", "/v1/events", params=self._query, headers=headers, timeout=timeout
        ) as response:
            if not response.is_success:
                await response.aread()
                read_answer(response)
            self._opened = True
            async for kind, identifier, data in _parse(response):
                if identifier:
                    self._last = identifier
                if not kind.startswith("stream."):
                    yield json.loads(data)


async def _parse(response: httpx.Response) -> AsyncIterator[tuple[str, str, str]]:
    """(event, id, data) of each event (HTML standard, 9.2.6); comments are skipped."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line == "":
            if "data" in fields:
                yield fields.get("event", "message"), fields.get("id", ""), fields["data"]
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
