"""The bus on a real RabbitMQ: acknowledgement after the commit, dead letters with a cause, a database that leaves."""

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest
import uvicorn
from aio_pika.abc import AbstractChannel, AbstractQueue
from sqlalchemy.exc import OperationalError

from slipway_chassis import facts, outbox
from slipway_chassis.bus import PREFETCH, RabbitBus
from slipway_chassis.clock import SystemClock
from slipway_chassis.runner import App, running
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.testing import eventually
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.envelope import sequence_text
from slipway_contracts.testing import a_cluster_spec

pytestmark = pytest.mark.integration


@pytest.fixture
async def namespace(amqp_url: str) -> AsyncIterator[str]:
    """A namespace of its own on the broker, removed afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    yield name
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        for service, region in (("healer", "tokyo"), ("api", "global")):
            for noun in ("cluster", "resync"):
                await channel.queue_delete(f"{name}.{service}.{region}.{noun}")
            await channel.queue_delete(f"{name}.{service}.{region}.dead-letters")
        for exchange in ("events", "dead-letters"):
            await channel.exchange_delete(f"{name}.{exchange}")


def an_app(service: Service, amqp_url: str, namespace: str, **more: Any) -> App:
    return App(service, ServiceSettings(amqp_url=amqp_url, bus_namespace=namespace, workers=1, **more))


async def not_ready(bus: RabbitBus) -> bool:
    return not await bus.is_ready()


@asynccontextmanager
async def a_channel(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        yield await connection.channel()


async def say(api: Service, spec: ClusterSpec) -> None:
    async with api.transaction() as session:
        await api.announce(session, ClusterSpecChanged, f"clusters/{spec.cluster_id}", spec, region=spec.region)


async def test_an_event_goes_through_the_broker_and_the_answer_comes_back(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    api, _ = await builder("api", region="global", file="api")
    healer, reconciler = await builder("healer")
    api.clock = healer.clock = SystemClock()
    async with running(an_app(healer, amqp_url, namespace)) as bus, running(an_app(api, amqp_url, namespace)) as other:
        await eventually(bus.is_ready, "the healer consumes")
        await eventually(other.is_ready, "the api consumes")
        await say(api, a_cluster_spec("c1"))
        await eventually(lambda: reconciler.seen == [("c1", 1)], "the healer reconciles the cluster")


async def test_an_invalid_message_lies_in_the_dead_letters_with_its_cause(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, _ = await builder("healer")
    async with running(an_app(healer, amqp_url, namespace)) as bus:
        await eventually(bus.is_ready, "the healer consumes")
        connection = await aio_pika.connect(amqp_url)
        async with connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(bus.names.events)
            broken = json.dumps({"type": ClusterSpecChanged.TYPE, "id": 7}).encode()
            await exchange.publish(aio_pika.Message(broken), "cluster.spec_changed.v1.tokyo")
            queue = await channel.get_queue(bus.names.dead_letter_queue("healer", "tokyo"))
            message = await asyncio.wait_for(_next(queue), timeout=10)
    assert message.body == broken
    assert "id" in str(message.headers["x-cause"])


async def test_while_the_database_is_away_nothing_is_lost_and_the_service_is_not_ready(
    builder: Any, amqp_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer, reconciler = await builder("healer")
    api, _ = await builder("api", region="global", file="api")
    away = True
    real_receive, real_available = healer.receive, healer.database.is_available

    async def receive(message: bytes, *, sender: str | None = None) -> Any:
        if away:
            raise OperationalError("insert", {}, ConnectionRefusedError("the database is away"))
        return await real_receive(message, sender=sender)

    async def is_available() -> bool:
        return not away and await real_available()

    async with running(an_app(healer, amqp_url, namespace)) as bus, running(an_app(api, amqp_url, namespace)) as other:
        await eventually(bus.is_ready, "the healer consumes")
        await eventually(other.is_ready, "the api consumes")
        monkeypatch.setattr(healer, "receive", receive)
        monkeypatch.setattr(healer.database, "is_available", is_available)
        await say(api, a_cluster_spec("c1"))

        await eventually(lambda: not_ready(bus), "the healer is not ready")
        away = False
        await eventually(lambda: ("c1", 1) in reconciler.seen, "the message is handled after all")
        await eventually(bus.is_ready, "the healer is ready again")


async def test_a_database_that_leaves_while_the_consumers_begin_keeps_no_message_from_us(
    builder: Any, amqp_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer, reconciler = await builder("healer")
    api, _ = await builder("api", region="global", file="api")
    real_receive, real_available = healer.receive, healer.database.is_available
    away = False

    async def receive(message: bytes, *, sender: str | None = None) -> Any:
        if away:
            raise OperationalError("insert", {}, ConnectionRefusedError("the database is away"))
        return await real_receive(message, sender=sender)

    async def is_available() -> bool:
        nonlocal away
        away = False
        return await real_available()

    async with running(an_app(api, amqp_url, namespace)) as other:
        await eventually(other.is_ready, "the api consumes")
        async with running(an_app(healer, amqp_url, namespace)) as bus:
            await eventually(bus.is_ready, "the healer has queues")
        await say(api, a_cluster_spec("c1"))
        async with a_channel(amqp_url) as channel:
            kept = await channel.get_queue(bus.names.queue("healer", "tokyo", "cluster"))
            await eventually(lambda: has_message(kept), "the broker keeps what was said")
        monkeypatch.setattr(healer, "receive", receive)
        again = RabbitBus(ServiceSettings(amqp_url=amqp_url, bus_namespace=namespace), healer)
        real_begin = again._broker.start

        async def begin() -> None:
            nonlocal away
            away = True
            await real_begin()
            await eventually(lambda: again._database_left, "a message came before all consumers were there")

        monkeypatch.setattr(again._broker, "start", begin)
        monkeypatch.setattr(healer.database, "is_available", is_available)
        await again.start()
        monkeypatch.setattr(again._broker, "start", real_begin)
        await eventually(again.is_ready, "the healer consumes again")
        while not reconciler.seen:
            await eventually(healer.work_once, "the message is handled after all")
        await again.stop()
    assert reconciler.seen == [("c1", 1)]


@pytest.mark.parametrize("there", [True, False], ids=["a broker that is there", "no broker"])
async def test_a_start_that_is_cut_anywhere_leaves_nothing_behind(
    builder: Any, amqp_url: str, namespace: str, there: bool
) -> None:
    healer, _ = await builder("healer")
    own = asyncio.all_tasks()
    url = amqp_url if there else "amqp://guest:guest@127.0.0.1:1/"
    settings = ServiceSettings(amqp_url=url, bus_namespace=namespace)
    steps, finished = 1, False
    while not finished and steps < (20_000 if there else 100):
        bus = RabbitBus(settings, healer)
        starting = asyncio.create_task(bus.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        finished = starting.done()
        starting.cancel()
        await asyncio.wait({starting})
        await bus.stop()
        # aio-pika's callbacks for closed channels end by themselves; what connects or reads would stay
        await eventually(lambda: asyncio.all_tasks() == own, f"cut after {steps} steps, all tasks end", within=1)
        steps = steps * 5 // 4 + 1
    assert finished == there


async def test_a_goodbye_that_fails_does_not_keep_the_next_start_from_the_broker(
    builder: Any, amqp_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer, _ = await builder("healer")
    own = asyncio.all_tasks()
    bus = RabbitBus(ServiceSettings(amqp_url=amqp_url, bus_namespace=namespace), healer)
    await bus.start()

    async def fail() -> None:
        raise ConnectionError("the channel is lost")

    monkeypatch.setattr(bus._broker._channel, "close", fail)
    await bus.stop()
    await asyncio.wait_for(bus.start(), timeout=20)
    await eventually(bus.is_ready, "it consumes again")
    await bus.stop()
    await eventually(lambda: asyncio.all_tasks() == own, "both connections are closed", within=1)


async def test_what_a_broker_without_memory_lost_is_asked_for(builder: Any, amqp_url: str, namespace: str) -> None:
    healer, reconciler = await builder("healer")
    api, _ = await builder("api", region="global", file="api")
    async with running(an_app(api, amqp_url, namespace)) as other:
        await eventually(other.is_ready, "the api consumes")
        async with running(an_app(healer, amqp_url, namespace)) as bus:
            await eventually(bus.is_ready, "the healer consumes")
            await say(api, a_cluster_spec("c1"))
            await eventually(lambda: reconciler.seen == [("c1", 1)], "the first cluster is heard of")
        await say(api, a_cluster_spec("c2"))
        async with a_channel(amqp_url) as channel:
            kept = await channel.get_queue(bus.names.queue("healer", "tokyo", "cluster"))
            await eventually(lambda: has_message(kept), "the broker keeps what was said")
            for name in (kept.name, bus.names.queue("healer", "tokyo", "resync")):
                await channel.queue_delete(name)
            await channel.queue_delete(bus.names.dead_letter_queue("healer", "tokyo"))
        async with running(an_app(healer, amqp_url, namespace)):
            await eventually(lambda: ("c2", 1) in reconciler.seen, "the second cluster is heard of after all")


async def has_message(queue: AbstractQueue) -> bool:
    return bool((await queue.declare()).message_count)


async def test_a_queue_deleted_under_its_consumer_comes_back_with_all_its_bindings(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, reconciler = await builder("healer")
    api, _ = await builder("api", region="global", file="api")
    async with running(an_app(healer, amqp_url, namespace)) as bus, running(an_app(api, amqp_url, namespace)) as other:
        await eventually(bus.is_ready, "the healer consumes")
        await eventually(other.is_ready, "the api consumes")
        async with a_channel(amqp_url) as channel:
            await channel.queue_delete(bus.names.queue("healer", "tokyo", "cluster"))
        await eventually(bus.is_ready, "the queue is declared and consumed again")
        await say(api, a_cluster_spec("c1"))
        await eventually(lambda: reconciler.seen == [("c1", 1)], "what is said after that is heard")
        async with a_channel(amqp_url) as channel:
            exchange = await channel.get_exchange(bus.names.events)
            handled = healer.metrics.messages.labels(type="unknown", disposition="unknown")
            strange = json.dumps({"type": "slipway.cluster.sung.v1"}).encode()
            await exchange.publish(aio_pika.Message(strange), "cluster.facts_announced.v1.global")
            await eventually(lambda: handled._value.get() == 1, "the last of the bindings is back too")


async def test_the_service_says_that_it_is_not_ready_while_a_queue_is_gone(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, _ = await builder("healer")
    async with running(an_app(healer, amqp_url, namespace)) as bus:
        await eventually(bus.is_ready, "the healer consumes")
        async with a_channel(amqp_url) as channel:
            await channel.queue_delete(bus.names.queue("healer", "tokyo", "cluster"))
            assert not await bus.is_ready()
        await eventually(bus.is_ready, "it is declared and consumed again")


async def test_a_queue_that_somebody_made_differently_ends_the_service_within_a_bounded_time(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, _ = await builder("healer")
    broken: list[str] = []
    async with a_channel(amqp_url) as channel:
        await channel.declare_queue(f"{namespace}.healer.tokyo.cluster", durable=True)
        app = an_app(healer, amqp_url, namespace, consumers_gone_after=timedelta(seconds=2))
        async with running(app, broken.append) as bus:
            await eventually(lambda: bool(broken), "the service asks to be started anew")
            assert not await bus.is_ready()
    assert "PRECONDITION_FAILED" in broken[0]


async def test_no_more_is_taken_from_a_queue_than_the_prefetch(builder: Any, amqp_url: str, namespace: str) -> None:
    healer, _ = await builder("healer")
    free, real_receive = asyncio.Event(), healer.receive

    async def receive(message: bytes, *, sender: str | None = None) -> Any:
        await free.wait()
        return await real_receive(message, sender=sender)

    healer.receive = receive
    async with running(an_app(healer, amqp_url, namespace)) as bus, a_channel(amqp_url) as channel:
        await eventually(bus.is_ready, "the healer consumes")
        exchange = await channel.get_exchange(bus.names.events)
        for _ in range(PREFETCH + 10):
            await exchange.publish(aio_pika.Message(b"{}"), "cluster.spec_changed.v1.tokyo")

        async def waiting() -> int:
            name = bus.names.queue("healer", "tokyo", "cluster")
            queue = await channel.declare_queue(name, passive=True)
            return int(queue.declaration_result.message_count or 0)

        await eventually(lambda: _is(waiting, 10), "the rest waits in the queue, where other replicas can take it")
        free.set()


async def test_a_dead_letter_survives_that_its_queue_was_deleted(builder: Any, amqp_url: str, namespace: str) -> None:
    healer, _ = await builder("healer")
    async with running(an_app(healer, amqp_url, namespace)) as bus, a_channel(amqp_url) as channel:
        await eventually(bus.is_ready, "the healer consumes")
        name = bus.names.dead_letter_queue("healer", "tokyo")
        await channel.queue_delete(name)
        exchange = await channel.get_exchange(bus.names.events)
        await exchange.publish(aio_pika.Message(b"not json"), "cluster.spec_changed.v1.tokyo")
        await eventually(lambda: healer.metrics.dead_letters._value.get() == 1, "it is put aside")
        message = await asyncio.wait_for(_next(await channel.get_queue(name)), timeout=10)
    assert message.body == b"not json"
    assert message.headers["x-routing-key"] == "cluster.spec_changed.v1.tokyo"


async def test_a_worker_that_ends_by_itself_takes_the_service_with_it(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, _ = await builder("healer")
    broken: list[str] = []

    async def mistake(_limit: int) -> list[Lease]:
        raise KeyError("a mistake of ours")

    async with running(an_app(healer, amqp_url, namespace), broken.append) as bus:
        await eventually(bus.is_ready, "the service runs")
        healer.claim = mistake
        await eventually(lambda: bool(broken), "the end of the worker is noticed")
    assert "a mistake of ours" in broken[0]


async def test_an_http_server_that_ends_by_itself_takes_the_service_with_it(
    builder: Any, amqp_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    healer, _ = await builder("healer")
    broken: list[str] = []
    end = asyncio.Event()

    async def serve(_server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        await end.wait()
        sockets[0].close()
        raise OSError("no more sockets")

    monkeypatch.setattr(uvicorn.Server, "serve", serve)
    async with running(an_app(healer, amqp_url, namespace), broken.append) as bus:
        await eventually(bus.is_ready, "the service runs")
        assert not broken
        end.set()
        await eventually(lambda: bool(broken), "the end of the server is noticed")
    assert "no more sockets" in broken[0]


async def test_what_the_last_look_says_goes_out_before_the_service_stops(
    builder: Any, amqp_url: str, namespace: str
) -> None:
    healer, reconciler = await builder("healer")
    begun, looked_last = asyncio.Event(), asyncio.Event()
    real_relay, real_reconcile = healer.relay_once, reconciler.reconcile

    async def relay_once(publish: Any) -> int:
        sent = await real_relay(publish)
        if begun.is_set() and not bus._consuming:
            looked_last.set()
        return sent

    async def reconcile(lease: Lease) -> timedelta | None:
        begun.set()
        await looked_last.wait()
        return await real_reconcile(lease)

    healer.relay_once, reconciler.reconcile = relay_once, reconcile
    async with running(an_app(healer, amqp_url, namespace)) as bus:
        await eventually(bus.is_ready, "the healer runs")
        spec = ClusterSpecChanged(
            id="1", type=ClusterSpecChanged.TYPE, source="api/global", subject="clusters/c1", region="tokyo",
            time=healer.clock.now(), sequence=sequence_text(1), data=a_cluster_spec("c1"),
        )  # fmt: skip
        await healer.receive(spec.to_json())
        await begun.wait()
    async with healer.database.reading() as session:
        assert await facts.facts_of(session, ClusterSpec)
        assert not await outbox.pending(session, 10)
    assert reconciler.seen == [("c1", 1)]


async def _is(count: Callable[[], Awaitable[int]], expected: int) -> bool:
    return await count() == expected


async def _next(queue: Any) -> Any:
    async with queue.iterator() as messages:
        async for message in messages:
            await message.ack()
            return message
    raise AssertionError("the queue was closed")


def test_the_settings_never_show_the_password(tmp_path: Path) -> None:
    assert "secret" not in repr(ServiceSettings(amqp_url="amqp://slipway:secret@broker/"))
