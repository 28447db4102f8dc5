"""Every service works with its own user of the broker, and with that it can do nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused
from sqlalchemy import MetaData

from slipway_chassis.bus import RabbitBus
from slipway_chassis.clock import SystemClock
from slipway_chassis.dead_letters import CAUSE, SAID_BY
from slipway_chassis.runner import App, running
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.testing import a_database, eventually
from slipway_chassis.tls import SERVICES
from slipway_chassis.topology import GLOBAL_REGION, BusNames
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import sequence_text
from slipway_contracts.resync import ClusterFactsAnnounced, ResyncRequested
from slipway_contracts.testing import a_cluster_spec
from slipway_platform.bus_definitions import BusPlan, consumed_by, main
from tests.bus.conftest import Secured, rabbitmqctl

pytestmark = pytest.mark.integration

SPEC_CHANGED = "cluster.spec_changed.v1.tokyo"


async def nothing(session: Any, event: Any) -> None:
    """The fact is all that is wanted."""


@asynccontextmanager
async def a_service(
    secured: Secured, name: str, folder: Path, on_broken: Callable[[str], None] | None = None
) -> AsyncIterator[tuple[Service, RabbitBus]]:
    """A service with the real one's routes and its own user, as a process would run it."""
    region = GLOBAL_REGION if name == "api" else secured.region
    database = await a_database(folder, name=name)
    own = (ResyncRequested, ClusterFactsAnnounced)
    routes = {event: nothing for event in consumed_by(name, region) if event not in own}
    service = Service(name, region, database, SystemClock(), MetaData(), routes)
    url = secured.service_url(name)
    settings = ServiceSettings(
        amqp_url=url, bus_namespace=secured.namespace, bus_users=True, workers=1,
        consumers_gone_after=timedelta(seconds=3),
    )  # fmt: skip
    try:
        async with running(App(service, settings), on_broken) as bus:
            yield service, bus
    finally:
        await database.close()


@asynccontextmanager
async def channel_of(url: str) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(url)
    async with connection:
        yield await connection.channel()


def a_message(source: str, **properties: Any) -> aio_pika.Message:
    """What the api would say of a cluster, from this source."""
    event = ClusterSpecChanged(
        id="0199", type=ClusterSpecChanged.TYPE, source="api/global", subject="clusters/c1", region="tokyo",
        time=datetime.now(UTC), sequence=sequence_text(1), data=a_cluster_spec("c1"),
    )  # fmt: skip
    document = json.loads(event.to_json()) | {"source": source}
    return aio_pika.Message(json.dumps(document).encode(), **properties)


async def refused(action: Any) -> None:
    with pytest.raises(ChannelAccessRefused):
        await action


async def test_all_services_consume_and_speak_each_with_its_own_user(secured: Secured, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        running_now = [await stack.enter_async_context(a_service(secured, name, tmp_path)) for name in SERVICES]
        for service, bus in running_now:
            await eventually(bus.is_ready, f"{service.name} consumes")
        for service, _ in running_now:
            await eventually(lambda s=service: s.metrics.published._value.get() >= 1, f"{service.name} speaks")
        for service, _ in running_now:
            async with service.transaction() as session:  # whoever came late has not heard the wishes at the start
                await service.announcer.request_resync(session)
        heard = [service.metrics.messages.labels(type=ResyncRequested.TYPE, disposition="handled")
                 for service, _ in running_now]  # fmt: skip
        await eventually(lambda: all(each._value.get() >= 1 for each in heard), "each hears another's wish")
        assert [service.metrics.dead_letters._value.get() for service, _ in running_now] == [0.0] * len(SERVICES)


async def test_the_monitor_cannot_say_what_only_the_api_says(secured: Secured) -> None:
    async with channel_of(secured.service_url("monitor")) as channel:
        exchange = await channel.get_exchange(secured.names.events, ensure=False)
        await refused(exchange.publish(a_message("api/global"), SPEC_CHANGED))


async def test_the_monitor_cannot_speak_for_another_region(secured: Secured) -> None:
    async with channel_of(secured.service_url("monitor")) as channel:
        exchange = await channel.get_exchange(secured.names.events, ensure=False)
        await refused(exchange.publish(aio_pika.Message(b"{}"), "node.ready.v1.osaka"))


async def test_nobody_can_claim_to_be_another_user(secured: Secured) -> None:
    async with channel_of(secured.service_url("monitor")) as channel:
        exchange = await channel.get_exchange(secured.names.events, ensure=False)
        message = aio_pika.Message(b"{}", user_id=secured.names.user("api", GLOBAL_REGION))
        with pytest.raises(aio_pika.exceptions.AMQPError, match=r"(?i)user_id"):
            await exchange.publish(message, "node.ready.v1.tokyo")


async def test_the_monitor_cannot_touch_the_queues_of_the_provisioner(secured: Secured, tmp_path: Path) -> None:
    async with a_service(secured, "provisioner", tmp_path) as (_, bus):
        await eventually(bus.is_ready, "the provisioner consumes")
        for name in (bus.names.queue("provisioner", "tokyo", "cluster"),
                     bus.names.dead_letter_queue("provisioner", "tokyo")):  # fmt: skip
            async with channel_of(secured.service_url("monitor")) as channel:
                await refused((await channel.get_queue(name, ensure=False)).get(fail=False))
            async with channel_of(secured.service_url("monitor")) as channel:
                await refused(channel.queue_delete(name))
            async with channel_of(secured.service_url("monitor")) as channel:
                await refused(channel.default_exchange.publish(aio_pika.Message(b"{}"), name))


async def test_the_monitor_cannot_listen_to_what_it_does_not_handle_or_bury_for_others(secured: Secured) -> None:
    own = f"{secured.names.user('monitor', 'tokyo')}.more"
    for exchange, key in ((secured.names.events, "operation.failed.v1.tokyo"), (secured.names.events, "#"),
                          (secured.names.dead_letters, "provisioner.tokyo")):  # fmt: skip
        async with channel_of(secured.service_url("monitor")) as channel:
            queue = await channel.declare_queue(own, exclusive=True)
            await refused(queue.bind(exchange, routing_key=key))
    async with channel_of(secured.service_url("monitor")) as channel:
        letters = await channel.get_exchange(secured.names.dead_letters, ensure=False)
        await refused(letters.publish(aio_pika.Message(b"{}"), "provisioner.tokyo"))


async def test_no_service_can_make_or_delete_the_exchanges(secured: Secured) -> None:
    async with channel_of(secured.service_url("provisioner")) as channel:
        await refused(channel.exchange_delete(secured.names.events))
    async with channel_of(secured.service_url("provisioner")) as channel:
        await refused(channel.declare_exchange(f"{secured.namespace}.more"))


@pytest.mark.parametrize(
    ("properties", "speaks_for"),
    [({}, "nobody: the message has no user_id"), ({"user_id": "guest"}, "guest/")],
    ids=["no user", "the broker's administrator"],
)
async def test_what_another_user_says_in_the_apis_name_lies_in_the_dead_letters(
    secured: Secured, tmp_path: Path, properties: dict[str, Any], speaks_for: str
) -> None:
    async with a_service(secured, "healer", tmp_path) as (service, bus), channel_of(secured.admin_url) as channel:
        await eventually(bus.is_ready, "the healer consumes")
        letters = await channel.get_queue(bus.names.dead_letter_queue("healer", "tokyo"))
        await letters.purge()
        exchange = await channel.get_exchange(bus.names.events)
        await exchange.publish(a_message("api/global", **properties), SPEC_CHANGED)
        await eventually(lambda: service.metrics.dead_letters._value.get() == 1, "it is put aside")
        letter = await asyncio.wait_for(letters.get(), timeout=10)
        await letter.ack()
    assert f"api/global is claimed, but the broker's user speaks for {speaks_for}" in str(letter.headers[CAUSE])
    assert letter.headers[SAID_BY] == properties.get("user_id", "")


async def test_a_service_whose_connections_the_broker_closes_hears_again(secured: Secured, tmp_path: Path) -> None:
    async with a_service(secured, "healer", tmp_path) as (service, bus):
        await eventually(bus.is_ready, "the healer consumes")
        await asyncio.to_thread(rabbitmqctl, "close_all_connections", "--vhost", secured.vhost, "a test")
        await eventually(bus.is_ready, "it is connected and consumes again")
        async with channel_of(secured.service_url("api")) as channel:
            exchange = await channel.get_exchange(secured.names.events, ensure=False)
            user = secured.names.user("api", GLOBAL_REGION)
            await exchange.publish(a_message("api/global", user_id=user), SPEC_CHANGED)
        handled = service.metrics.messages.labels(type=ClusterSpecChanged.TYPE, disposition="handled")
        await eventually(lambda: handled._value.get() == 1, "what is said after that is heard")


async def test_a_service_whose_permissions_are_gone_is_not_ready_and_ends(
    secure: Callable[[str], Secured], tmp_path: Path
) -> None:
    alone = secure("tokyo")
    broken: list[str] = []
    async with a_service(alone, "healer", tmp_path, broken.append) as (_, bus):
        await eventually(bus.is_ready, "the healer consumes")
        user, none = alone.names.user("healer", "tokyo"), ("^$",) * 3
        await asyncio.to_thread(rabbitmqctl, "set_permissions", "--vhost", alone.vhost, user, *none)
        await asyncio.to_thread(rabbitmqctl, "close_all_connections", "--vhost", alone.vhost, "a test")
        await eventually(lambda: bool(broken), "it asks to be started anew")
        assert not await bus.is_ready()


async def test_the_owners_automation_hears_what_it_may_and_says_nothing(secured: Secured) -> None:
    url = secured.url_of(secured.reader)
    async with channel_of(url) as channel:
        queue = await channel.declare_queue(f"{secured.reader}.mine", exclusive=True)
        await queue.bind(secured.names.events, routing_key="node.unhealthy.v1.tokyo")
        await refused(queue.bind(secured.names.events, routing_key="cluster.spec_changed.v1.tokyo"))
    async with channel_of(url) as channel:
        exchange = await channel.get_exchange(secured.names.events, ensure=False)
        await refused(exchange.publish(aio_pika.Message(b"{}"), "node.unhealthy.v1.tokyo"))


@pytest.mark.parametrize("reader", ["healer", "healer.tokyo", "api.global.x", "operator"])
def test_a_reader_cannot_have_the_queues_of_a_service(reader: str) -> None:
    with pytest.raises(ValueError, match="needs another name"):
        BusPlan(("tokyo",), BusNames(), readers={reader: ".*"}).accesses()


def test_the_command_names_a_missing_password_and_never_shows_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--region", "tokyo", "--passwords", str(tmp_path)]) == 2
    assert "api.global" in capsys.readouterr().err
    assert main(["--region", "tokyo", "--passwords", str(tmp_path), "--create"]) == 0
    shown = capsys.readouterr().out
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600] * (len(SERVICES) + 1)
    assert not any(text in shown for text in _texts(tmp_path.iterdir()))


def _texts(paths: Iterable[Path]) -> list[str]:
    return [path.read_text() for path in paths]
