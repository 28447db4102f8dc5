"""What can never be handled is put aside: a copy with its cause, in the one dead-letter queue of the service."""

from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractRobustChannel, AbstractRobustConnection, AbstractRobustExchange, DeliveryMode
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import ChannelNotFoundEntity

from slipway_chassis.amqp import CONFIRM_WITHIN, an_exchange, ours_or_theirs
from slipway_chassis.service import Service
from slipway_chassis.topology import LOOKS_AT_LETTERS, BusNames

log = structlog.get_logger()

CAUSE = "x-cause"
"""The sentence that says why."""
ROUTING_KEY = "x-routing-key"
"""Under which routing key it was said first."""
SAID_BY = "x-user"
"""The broker's user that said it; empty where it named none."""
BURIED_AT = "x-buried-at"


class DeadLetters:
    """The dead letters of one service."""

    def __init__(self, names: BusNames, service: Service, user: str) -> None:
        self._names = names
        self._service = service
        self._user = user
        self._queue = names.dead_letter_queue(service.name, service.region)
        self._key = f"{service.name}.{service.region}"
        self._connection: AbstractRobustConnection | None = None
        self._exchange: AbstractRobustExchange | None = None

    async def are_there(self, connection: AbstractRobustConnection) -> bool:
        """Whether the broker has our queue, which nobody else declares: if not, it never knew us or lost its disk.

        Therefore the queue is not restored behind our back when a connection comes back, but by `open` alone.
        """
        transport = connection.transport
        if transport is None:
            raise ConnectionError("the connection is lost")
        channel = await transport.connection.channel(publisher_confirms=False)
        try:
            await channel.queue_declare(self._queue, passive=True)
        except ChannelNotFoundEntity:  # which closes the channel
            return False
        await channel.close()
        return True

    async def open(self, connection: AbstractRobustConnection) -> None:
        """Declare exchange and queue on this connection."""
        self._connection = connection
        self._exchange = await ours_or_theirs(connection, an_exchange(self._names.dead_letters))
        await self._make_queue(connection)

    async def _make_queue(self, connection: AbstractRobustConnection) -> None:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": LOOKS_AT_LETTERS}

        async def declare(channel: AbstractRobustChannel, *, passive: bool) -> Any:
            return await channel.declare_queue(
                self._queue, durable=True, arguments=arguments, passive=passive, robust=False
            )

        queue = await ours_or_theirs(connection, declare)
        await queue.bind(self._names.dead_letters, routing_key=self._key)

    async def bury(self, message: Any, cause: str) -> bool:
        """Put a copy of the message aside; False when the broker did not take it: then it must not be acknowledged."""
        headers = message.headers or {}
        copy = aio_pika.Message(
            bytes(message.body),
            delivery_mode=DeliveryMode.PERSISTENT,
            content_type=message.content_type,
            message_id=message.message_id,
            user_id=self._user,
            headers={
                CAUSE: cause[:1000],
                ROUTING_KEY: headers.get(ROUTING_KEY) or message.routing_key or "",
                SAID_BY: headers.get(SAID_BY) or message.user_id or "",
                BURIED_AT: self._service.clock.now().isoformat(),
            },
        )
        try:
            taken = await self._put(copy) or await self._put_into_a_new_queue(copy)
        except Exception as error:  # noqa: BLE001  the message stays in its queue and comes again
            log.warning("Dead letter was not taken", error=repr(error))
            return False
        if taken:
            self._service.metrics.dead_letters.inc()
        return taken

    async def _put(self, copy: aio_pika.Message) -> bool:
        assert self._exchange is not None, "messages come only after `open`"
        answer = await self._exchange.publish(copy, self._key, mandatory=True, timeout=CONFIRM_WITHIN)
        return not isinstance(answer, DeliveredMessage)

    async def _put_into_a_new_queue(self, copy: aio_pika.Message) -> bool:
        """Somebody deleted the queue: it is made again."""
        assert self._connection is not None, "messages come only after `open`"
        await self._make_queue(self._connection)
        return await self._put(copy)
