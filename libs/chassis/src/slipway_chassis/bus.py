"""The bus: one durable topic exchange on RabbitMQ, a quorum queue for each (service, region, noun), dead letters.

FastStream's defaults lose messages, so: persistent messages, publisher confirms with a time limit of our own, manual
acknowledgement after the commit, and a copy with its cause to the dead letters for what can never be handled.
While the service's database is away its consumers are cancelled; messages return to their queues.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import aio_pika
import structlog
from aio_pika.abc import AbstractRobustConnection, AbstractRobustExchange, AbstractRobustQueue, DeliveryMode
from aio_pika.exceptions import AMQPError
from aiormq.abc import DeliveredMessage
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage
from faststream.security import BaseSecurity
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential

from slipway_chassis.amqp import CONFIRM_WITHIN, an_exchange, ours_or_theirs, tls_of, user_of
from slipway_chassis.broker import ClosableBroker
from slipway_chassis.database import is_away
from slipway_chassis.dead_letters import DeadLetters
from slipway_chassis.inbox import Disposition, Receipt
from slipway_chassis.outbox import Outgoing
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.topology import BusNames, QueuePlan, queues_of

if TYPE_CHECKING:
    from faststream.rabbit.schemas.queue import QuorumQueueArgs

log = structlog.get_logger()

PREFETCH = 20
ANSWER_WITHIN = 2.0
HANDLER_ATTEMPTS = 3
STOP_WITHIN = 5.0
LOOK_EVERY = timedelta(seconds=1)
"""Between two looks at our consumers, and between two attempts at a broker that refuses what is ours."""
LONGEST_LOOK = LOOK_EVERY.total_seconds() + 2 * ANSWER_WITHIN
"""Seconds from one look at our consumers to the next. Where more has passed it was we who stood still, in a paused
process or machine, and a connection given up meanwhile gets its time to come back."""


class ConsumersGone(RuntimeError):
    """The broker answers, but consumers of ours stay away: only a new start can help."""


class RabbitBus:
    """Connects one service to RabbitMQ."""

    def __init__(self, settings: ServiceSettings, service: Service) -> None:
        self.names = BusNames(settings.bus_namespace)
        self._settings = settings
        self._service = service
        self._user = user_of(settings.amqp_url)
        self._tls = tls_of(settings)
        self._broker = ClosableBroker(
            settings.amqp_url,
            security=None if self._tls is None else BaseSecurity(ssl_context=self._tls),
            fail_fast=False,
            reconnect_interval=1.0,
            app_id=service.source,
            apply_types=False,
            logger=None,
            graceful_timeout=15.0,
        )
        self._connection: AbstractRobustConnection | None = None
        self._publish_to: AbstractRobustExchange | None = None
        self._pausing: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._letters = DeadLetters(self.names, service, self._user)
        plans = queues_of(self.names, service.name, service.region, service.consumes)
        self._subscribed = [(plan, *self._subscribe(plan)) for plan in plans]
        self._queues: list[AbstractRobustQueue] = []
        self._consuming = False
        self._database_left = False
        self._refused: str | None = None

    def _subscribe(self, plan: QueuePlan) -> tuple[RabbitQueue, Channel, Any]:
        arguments = cast("QuorumQueueArgs", plan.arguments)
        queue = RabbitQueue(plan.name, queue_type=QueueType.QUORUM, durable=True, arguments=arguments)
        channel = Channel(prefetch_count=PREFETCH)
        subscriber = self._broker.subscriber(
            queue, ack_policy=AckPolicy.MANUAL, channel=channel, decoder=_whole_message
        )
        subscriber(self._consume)
        return queue, channel, subscriber

    async def start(self) -> None:
        """Declare what is ours and begin to consume; waits for a broker that is not there yet, or refuses us."""
        while True:
            try:
                await self._connect()
            except Exception as error:  # noqa: BLE001  whatever it was, it is said and tried again
                self._refused = repr(error)
                log.warning("Broker refuses what is ours", user=self._user, error=self._refused)
                await self._disconnect()
                await asyncio.sleep(LOOK_EVERY.total_seconds())
            else:
                self._refused, self._consuming = None, True
                if self._database_left:  # while the consumers began: what they took then goes back too
                    self._pause()
                return

    async def _connect(self) -> None:
        connection: Any = await self._broker.connect()
        self._connection = connection
        known = await self._letters.are_there(connection)
        self._publish_to = await ours_or_theirs(connection, an_exchange(self.names.events))
        self._queues = []
        for plan, queue, channel, _ in self._subscribed:
            # on the subscriber's own channel: FastStream consumes where the queue was declared first
            declared = await self._broker.config.declarer.declare_queue(queue, channel=channel)
            for key in plan.keys:
                await declared.bind(self.names.events, routing_key=key)
            self._queues.append(declared)
        if not known:
            await self._service.catch_up()
        await self._letters.open(connection)
        await self._broker.start()
        connection.reconnect_callbacks.add(self._on_reconnected)

    def _on_reconnected(self, connection: Any, *_: object) -> None:
        if self._returning is not None:
            self._returning.cancel()
        self._returning = asyncio.create_task(self._catch_up_if_forgotten(connection))

    async def _catch_up_if_forgotten(self, connection: Any) -> None:
        """What is consumed was declared again by now; the broker may have lost its disk, and messages with it."""
        while True:
            try:
                if not await self._letters.are_there(connection):
                    log.warning("Broker has forgotten us, all is said and asked again")
                    await self._service.catch_up()
                    await self._letters.open(connection)
            except Exception as error:  # noqa: BLE001  broker or database is away again
                log.warning("Not caught up yet", error=repr(error))
                await asyncio.sleep(LOOK_EVERY.total_seconds())
            else:
                return

    async def stop_consuming(self) -> None:
        """Take no more messages; those in progress are finished, prefetched ones return to their queues."""
        await self._stand_still()
        for *_, subscriber in self._subscribed:
            await subscriber.stop()

    async def stop(self) -> None:
        """Disconnect."""
        await self._stand_still()
        await self._disconnect()

    async def _stand_still(self) -> None:
        """Nothing connects or consumes again by itself from now on."""
        self._consuming = False
        for task in (self._pausing, self._returning):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _disconnect(self) -> None:
        """Never raises: whoever waits for a database or stops goes on whatever the broker says to it."""
        try:
            await asyncio.wait_for(self._broker.stop(), timeout=STOP_WITHIN)
        except Exception as error:  # noqa: BLE001  the connection is gone in any case
            log.info("Broker was left without its goodbye", error=repr(error))

    # -- is it true that we hear what is said?

    async def is_ready(self) -> bool:
        """Whether the broker answers and every consumer of ours is there, as we and as the broker see it."""
        return self._consuming and self._pausing is None and await self._answers() and await self._hears()

    async def watch(self) -> None:
        """Raises ConsumersGone when the broker answered all the time but consumers of ours stayed away too long.

        A broker that is away, or a database, is waited for: a new start would not help.
        """
        clock, gone_for = asyncio.get_running_loop(), 0.0
        while gone_for < self._settings.consumers_gone_after.total_seconds():
            began = clock.time()
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            gone_for = gone_for + min(clock.time() - began, LONGEST_LOOK) if await self._is_deaf() else 0.0
        why = self._refused or "the log says what it refused"
        raise ConsumersGone(f"for {gone_for:.0f} s the broker answers but does not let us consume: {why}")

    async def _is_deaf(self) -> bool:
        if not self._consuming or self._pausing is not None:
            return self._refused is not None
        return not await self._hears() and await self._lets_us_in() and not await self._is_blocked()

    async def _answers(self) -> bool:
        return await self._broker.ping(timeout=ANSWER_WITHIN)

    async def _lets_us_in(self) -> bool:
        """Whether the broker takes a new connection of ours: then it is not away, whatever became of the old one."""
        try:
            url = self._settings.amqp_url
            await (await aio_pika.connect(url, ssl_context=self._tls, timeout=ANSWER_WITHIN)).close()
        except (TimeoutError, AMQPError, OSError):
            return False
        return True

    async def _is_blocked(self) -> bool:
        """Whether the broker has an alarm (memory, disk) and reads nothing more of ours: it is as good as away."""
        transport = self._connection.transport if self._connection is not None else None
        if transport is None or transport.connection.is_closed:
            return False
        try:
            await asyncio.wait_for(transport.connection.ready(), timeout=ANSWER_WITHIN)
        except TimeoutError:
            return True
        return False

    async def _hears(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return all(await asyncio.gather(*map(_is_consumed, self._queues)))
        except (TimeoutError, AMQPError, OSError, RuntimeError):
            return False

    # -- messages

    async def publish(self, batch: Sequence[Outgoing]) -> list[int]:
        """Publish with confirms; returns the row ids that the broker has."""
        if self._publish_to is None:
            return []
        results = await asyncio.gather(*(self._publish_one(self._publish_to, each) for each in batch))
        return [each.row_id for each, done in zip(batch, results, strict=True) if done]

    async def _publish_one(self, exchange: AbstractRobustExchange, each: Outgoing) -> bool:
        message = aio_pika.Message(
            each.document,
            delivery_mode=DeliveryMode.PERSISTENT,
            content_type="application/cloudevents+json",
            message_id=each.event_id,
            app_id=self._service.source,
            user_id=self._user,
        )
        try:
            answer = await exchange.publish(message, each.routing_key, mandatory=True, timeout=CONFIRM_WITHIN)
        except asyncio.CancelledError:
            # aio-pika raises this in our task when the connection is lost while a confirm is awaited
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return False
        except Exception as error:  # noqa: BLE001  whatever it was, the row stays and is tried again
            log.warning("Publish failed", routing_key=each.routing_key, error=repr(error))
            return False
        if isinstance(answer, DeliveredMessage):
            self._service.metrics.unrouted.labels(type=each.routing_key.rpartition(".")[0]).inc()
        return True

    async def _consume(self, message: RabbitMessage) -> None:
        try:
            receipt = await self._receive(message)
        except Exception as error:
            if is_away(error):
                log.warning("Database away, consumers pause", error=repr(error))
                self._database_left = True
                self._pause()
                return
            log.exception("Handler failed, message goes to the dead letters")
            receipt = Receipt(Disposition.INVALID, f"handler failed: {error!r}")
        if receipt.disposition is Disposition.INVALID:
            log.error("Invalid message goes to the dead letters", cause=receipt.cause)
            if not await self._letters.bury(message.raw_message, receipt.cause or "invalid"):
                await message.nack(requeue=True)
                return
        await message.ack()

    async def _receive(self, message: RabbitMessage) -> Receipt:
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(HANDLER_ATTEMPTS),
            wait=wait_exponential(multiplier=0.1, max=1.0),
            retry=retry_if_exception(_is_mistake),
            reraise=True,
        ):
            with attempt:
                return await self._service.receive(bytes(message.body), sender=self._sender(message))
        raise AssertionError("unreachable: the last attempt raises")

    def _sender(self, message: RabbitMessage) -> str | None:
        """Whom the broker vouches for; None where it is not asked, or the operator repeats what somebody said."""
        user = message.raw_message.user_id
        if not self._settings.bus_users or user == self.names.operator:
            return None
        return self.names.source_of_user(user) if user else "nobody: the message has no user_id"

    def _pause(self) -> None:
        if self._pausing is None and self._consuming:
            self._pausing = asyncio.create_task(self._wait_for_database())

    async def _wait_for_database(self) -> None:
        # Cancelling the consumers alone would keep what is prefetched unacknowledged; a closed connection gives it back
        while self._database_left:
            await self._disconnect()
            while not await self._service.database.is_available():  # noqa: ASYNC110  a database tells nobody it is back
                await asyncio.sleep(1.0)
            self._database_left = False
            await self.start()
        self._pausing = None
        log.info("Database is back, consumers resumed")


async def _is_consumed(queue: AbstractRobustQueue) -> bool:
    """Whether our own consumer of this queue is there: we know one, and the broker counts one."""
    channel: Any = await queue.channel.get_underlay_channel()
    if not channel.consumers:
        return False
    probe = await channel.connection.channel(publisher_confirms=False)
    try:
        return bool((await probe.queue_declare(queue.name, passive=True)).consumer_count)
    finally:
        await probe.close()


def _is_mistake(error: BaseException) -> bool:
    return isinstance(error, Exception) and not is_away(error)


async def _whole_message(message: Any) -> Any:
    """Hand the message itself to the consumer, which must acknowledge it."""
    return message
