"""The dead letters: looked at without taking them, put back into the queue they came from, or dropped.

A letter stays where it is until the broker has confirmed its copy; to replay one twice is harmless, for what a message
says is a state with a sequence.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractIncomingMessage, DeliveryMode

from slipway_chassis.amqp import CONFIRM_WITHIN
from slipway_chassis.dead_letters import BURIED_AT, CAUSE, ROUTING_KEY, SAID_BY
from slipway_chassis.topology import BusNames

KEPT = ".dead-letters"


@dataclass(frozen=True)
class Letter:
    """One dead letter."""

    id: str
    """The same for the same message in the same queue, however often one looks."""
    queue: str
    cause: str
    routing_key: str
    said_by: str
    buried_at: str
    message_id: str
    body: bytes
    back_to: str | None
    """The queue that it came from, as far as that can be told."""
    message: AbstractIncomingMessage

    @property
    def subject(self) -> str:
        """What the message is about; empty when it is not to be read."""
        return str(self.document.get("subject", ""))

    @property
    def document(self) -> dict[str, Any]:
        """The message, as far as it is a JSON object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def row(self) -> dict[str, Any]:
        """For output."""
        return {
            "id": self.id,
            "queue": self.queue,
            "buried_at": self.buried_at,
            "routing_key": self.routing_key,
            "subject": self.subject,
            "said_by": self.said_by,
            "cause": self.cause,
        }


def letter_of(names: BusNames, queue: str, message: AbstractIncomingMessage) -> Letter:
    """Read what the service, or the broker itself, wrote on it."""
    headers: dict[str, Any] = dict(message.headers or {})
    death: Any = (headers.get("x-death") or [{}])[0]
    keys = death.get("routing-keys") or [""]
    routing_key = str(headers.get(ROUTING_KEY) or keys[0])
    service, _, region = queue.removesuffix(KEPT).removeprefix(names.prefix).partition(".")
    came_from = names.queue(service, region, routing_key.partition(".")[0]) if routing_key else None
    cause = headers.get(CAUSE) or f"The broker gave it up: {death.get('reason', 'it says no reason')}"
    digest = hashlib.sha256(queue.encode() + (message.message_id or "").encode() + message.body).hexdigest()
    return Letter(
        id=digest[:12],
        queue=queue,
        cause=str(cause),
        routing_key=routing_key,
        said_by=str(headers.get(SAID_BY) or message.user_id or ""),
        buried_at=str(headers.get(BURIED_AT) or death.get("time") or ""),
        message_id=message.message_id or "",
        body=message.body,
        back_to=str(death["queue"]) if death.get("queue") else came_from,
        message=message,
    )


@asynccontextmanager
async def opened(
    connection: AbstractConnection, names: BusNames, queues: Sequence[str], limit: int
) -> AsyncIterator[list[Letter]]:
    """The letters of these queues, oldest first. What was not acknowledged on leaving returns to its queue."""
    async with connection.channel(on_return_raises=True) as channel:
        letters: list[Letter] = []
        for name in queues:
            queue = await channel.get_queue(name, ensure=False)
            while len(letters) < limit:
                message = await queue.get(fail=False)
                if message is None:
                    break
                letters.append(letter_of(names, name, message))
        try:
            yield letters
        finally:
            for letter in letters:
                if not letter.message.processed:
                    await letter.message.nack(requeue=True)


async def replay(connection: AbstractConnection, user: str, letter: Letter) -> None:
    """Put the message back into the queue it came from, and only then take the letter away.

    Raises LookupError when that queue is not known or not there, aio_pika's errors when the broker refuses the copy.
    """
    if letter.back_to is None:
        raise LookupError("nothing on the letter says which queue it came from")
    copy = aio_pika.Message(
        letter.body,
        delivery_mode=DeliveryMode.PERSISTENT,
        content_type=letter.message.content_type,
        message_id=letter.message_id or None,
        user_id=user,
        headers={ROUTING_KEY: letter.routing_key, SAID_BY: letter.said_by},
    )
    async with connection.channel(on_return_raises=True) as channel:
        try:
            await channel.default_exchange.publish(copy, letter.back_to, mandatory=True, timeout=CONFIRM_WITHIN)
        except aio_pika.exceptions.DeliveryError as returned:
            raise LookupError(f"there is no queue {letter.back_to}: does the service run?") from returned
    await letter.message.ack()
