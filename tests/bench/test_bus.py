"""P5: a message's way from the broker to its committed fact and its acknowledgement, beside the bare driver's.

The floor consumes the same messages with aio-pika alone, as many at once, and commits the same two rows in the same
PostgreSQL before it acknowledges. Then messages come at a steady rate, and the time from the publishing of each to its
commit is told.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.bus import PREFETCH
from slipway_chassis.clock import SystemClock
from slipway_chassis.database import Database
from slipway_chassis.ids import new_id
from slipway_chassis.runner import App, running
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.testing import a_postgresql_database, eventually
from slipway_chassis.topology import BusNames
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import Event, sequence_text, source_of
from slipway_contracts.testing import a_cluster_spec
from slipway_platform.platform import remove_namespace

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

MESSAGES = 3000
RATE, RATE_FOR = 500, 6
"""Messages a second, and for how many seconds."""
NAMESPACE = "bench-bus"
LATER = timedelta(days=1)
"""Objects come due when the bench is over: the reconcilers' work is not what is measured."""


async def test_a_message_beside_the_bare_driver(amqp_url: str, postgres_url: str) -> None:
    async with a_postgresql_database(postgres_url) as database, a_postgresql_database(postgres_url) as other:
        try:
            floor = await bare(amqp_url, database)
            consumer = Consumer(other)
            settings = ServiceSettings(amqp_url=amqp_url, bus_namespace=NAMESPACE, workers=1)
            async with running(App(consumer.service, settings)) as app:
                await eventually(app.is_ready, "the consumer consumes")
                rate = await consumer.drain(amqp_url)
                await consumer.keep_pace(amqp_url)
        finally:
            await remove_namespace(amqp_url, NAMESPACE, "tokyo")
    print(f"\nbare driver: {floor:.0f} messages a second; service: {rate:.0f}; ratio {rate / floor:.2f}")
    waits = sorted(1000 * wait for wait in consumer.waits)
    p99 = waits[int(len(waits) * 0.99)]
    print(f"at {RATE} a second: p50 {statistics.median(waits):.1f} ms, p99 {p99:.1f} ms, n {len(waits)}")


def events(count: int, first: int = 0) -> list[Event[Any]]:
    """So many, each about a cluster of its own."""
    now = SystemClock().now()
    return [
        ClusterSpecChanged(
            id=new_id(now),
            type=ClusterSpecChanged.TYPE,
            source=source_of("api", "global"),
            subject=f"clusters/c{number}",
            time=now,
            region="tokyo",
            sequence=sequence_text(1),
            data=a_cluster_spec(cluster_id=f"c{number}"),
        )
        for number in range(first, first + count)
    ]


class Nothing:
    """Has nothing to do."""

    kind = "cluster"

    async def reconcile(self, lease: Lease) -> timedelta | None:
        return LATER

    async def refused(self, session: AsyncSession, key: str, refusal: Any) -> None:
        raise AssertionError("nothing is refused here")


class Consumer:
    """A service that keeps each spec and marks its cluster dirty, as all of them do; and when it had committed it."""

    def __init__(self, database: Database) -> None:
        self.clock = SystemClock()
        self.service = Service(
            "healer",
            "tokyo",
            database,
            self.clock,
            MetaData(),
            {ClusterSpecChanged: self._heard},
            [Nothing()],
        )
        self.done: asyncio.Queue[bytes] = asyncio.Queue()
        self.waits: list[float] = []
        self._receive = self.service.receive
        self.service.receive = self._timed  # type: ignore[method-assign]

    async def _heard(self, session: AsyncSession, event: ClusterSpecChanged) -> None:
        await work.mark_dirty(session, "cluster", event.data.cluster_id, self.clock.now() + LATER)

    async def _timed(self, message: bytes, *, sender: str | None = None) -> Any:
        receipt = await self._receive(message, sender=sender)
        self.done.put_nowait(message)
        return receipt

    async def drain(self, amqp_url: str) -> float:
        """Messages a second that it takes as fast as it can."""
        messages = events(MESSAGES)
        async with await aio_pika.connect(amqp_url) as connection:
            exchange = await (await connection.channel()).get_exchange(BusNames(NAMESPACE).events)
            began = time.perf_counter()
            await asyncio.gather(*(send(exchange, each) for each in messages))
            missing = {each.to_json() for each in messages}
            while missing:
                missing.discard(await asyncio.wait_for(self.done.get(), timeout=60))
        return MESSAGES / (time.perf_counter() - began)

    async def keep_pace(self, amqp_url: str) -> None:
        """Notes how long each of a steady stream takes from its publishing to its commit."""
        messages = events(RATE * RATE_FOR, first=MESSAGES)
        sent: dict[bytes, float] = {}
        async with await aio_pika.connect(amqp_url) as connection:
            exchange = await (await connection.channel()).get_exchange(BusNames(NAMESPACE).events)
            listener = asyncio.create_task(self._note(sent, len(messages)))
            began, sending = time.perf_counter(), []
            for number, each in enumerate(messages):
                await asyncio.sleep(max(0.0, began + number / RATE - time.perf_counter()))
                sent[each.to_json()] = time.perf_counter()
                sending.append(asyncio.create_task(send(exchange, each)))
            await asyncio.gather(*sending)
            await asyncio.wait_for(listener, timeout=60)

    async def _note(self, sent: dict[bytes, float], count: int) -> None:
        while len(self.waits) < count:
            message = await self.done.get()
            began = sent.pop(message, None)  # none: it came a second time
            if began is not None:
                self.waits.append(time.perf_counter() - began)


async def send(exchange: Any, event: Event[Any]) -> None:
    message = aio_pika.Message(event.to_json(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT, message_id=event.id)
    await exchange.publish(message, routing_key=event.routing_key)


async def bare(amqp_url: str, database: Database) -> float:
    """Messages a second with the driver alone."""
    messages, clock = events(MESSAGES), SystemClock()
    by_body = {each.to_json(): each for each in messages}
    taken: asyncio.Queue[None] = asyncio.Queue()
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        arguments = {"x-queue-type": "quorum"}
        queue = await channel.declare_queue(f"{NAMESPACE}.floor", durable=True, arguments=arguments)
        try:

            async def take(message: Any) -> None:
                event = by_body[message.body]
                async with database.transaction() as session:
                    await facts.record(session, event, clock.now())
                    await work.mark_dirty(session, "cluster", event.data.cluster_id, clock.now() + LATER)
                await message.ack()
                taken.put_nowait(None)

            await queue.consume(take)
            began = time.perf_counter()
            await fill(channel.default_exchange, queue.name, messages)
            for _ in messages:
                await asyncio.wait_for(taken.get(), timeout=60)
            return MESSAGES / (time.perf_counter() - began)
        finally:
            await queue.delete(if_unused=False, if_empty=False)


async def fill(exchange: Any, routing_key: str, messages: Sequence[Event[Any]]) -> None:
    persistent = aio_pika.DeliveryMode.PERSISTENT
    sending = (
        exchange.publish(aio_pika.Message(each.to_json(), delivery_mode=persistent), routing_key=routing_key)
        for each in messages
    )
    await asyncio.gather(*sending)
