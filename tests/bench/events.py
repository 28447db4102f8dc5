"""All events of a platform, as a consumer of its own sees them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aio_pika

from slipway_chassis.topology import BusNames
from slipway_contracts import parse_event


@contextlib.asynccontextmanager
async def listening(amqp_url: str, namespace: str) -> AsyncIterator[asyncio.Queue[Any]]:
    """All events of the platform from now on."""
    received: asyncio.Queue[Any] = asyncio.Queue()
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(BusNames(namespace).events, routing_key="#")

        async def take(message: Any) -> None:
            async with message.process():
                received.put_nowait(parse_event(message.body))

        await queue.consume(take)
        yield received
