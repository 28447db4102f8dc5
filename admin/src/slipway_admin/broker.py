"""The broker as the operator's user sees it: AMQP for messages and queues, the management API for bindings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import quote

import aio_pika
import httpx
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import ChannelNotFoundEntity
from yarl import URL

from slipway_admin.configuration import Configuration
from slipway_admin.errors import CommandFailed, Exit
from slipway_chassis.amqp import tls_of

CONNECT_WITHIN = 10.0


@dataclass(frozen=True)
class QueueState:
    """One queue, as the broker counts."""

    messages: int
    consumers: int


@asynccontextmanager
async def connected(configuration: Configuration) -> AsyncIterator[AbstractConnection]:
    """A connection to the broker; CommandFailed says why there is none, without the password."""
    url = URL(configuration.amqp_url)
    try:
        context = tls_of(configuration)
        connection = await aio_pika.connect(configuration.amqp_url, ssl_context=context, timeout=CONNECT_WITHIN)
    except (OSError, TimeoutError, ValueError, aio_pika.exceptions.AMQPError) as error:
        where = f"{url.host}:{url.port or ''}{url.path} as {url.user or 'guest'}"
        why = str(error) or type(error).__name__
        raise CommandFailed(Exit.CANNOT, f"The broker at {where} cannot be used: {why}") from error
    async with connection:
        yield connection


async def queue_state(connection: AbstractConnection, name: str) -> QueueState | None:
    """How many messages and consumers the queue has; None when there is no such queue."""
    async with connection.channel() as channel:
        return await _state(channel, name)


async def _state(channel: AbstractChannel, name: str) -> QueueState | None:
    try:
        queue = await channel.declare_queue(name, passive=True)
    except ChannelNotFoundEntity:
        return None
    declared = queue.declaration_result
    return QueueState(declared.message_count or 0, declared.consumer_count or 0)


class Management:
    """RabbitMQ's management API, read only."""

    def __init__(self, configuration: Configuration) -> None:
        assert configuration.management_url is not None, "asked only where there is one"
        url = URL(configuration.amqp_url)
        self._vhost = quote(url.path.lstrip("/") or "/", safe="")
        self._client = httpx.AsyncClient(
            base_url=configuration.management_url,
            auth=(url.user or "guest", url.password or "guest"),
            timeout=CONNECT_WITHIN,
            trust_env=False,
            verify=tls_of(configuration) or True,
        )

    async def bindings(self, queue: str, exchange: str) -> set[str]:
        """The keys that the queue is bound with to the exchange."""
        answer = await self._get(f"/api/queues/{self._vhost}/{quote(queue, safe='')}/bindings")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return set()
        found = answer.raise_for_status().json()
        return {each["routing_key"] for each in found if each["source"] == exchange}

    async def date(self) -> str | None:
        """The Date of an answer: what the broker's machine has for the time, to the second."""
        date: str | None = (await self._get("/api/whoami")).raise_for_status().headers.get("date")
        return date

    async def _get(self, path: str) -> httpx.Response:
        return await self._client.get(path)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
