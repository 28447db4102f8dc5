"""slipway-admin with the operator's own user of the broker: dead letters and resync, on a real RabbitMQ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from slipway_chassis.testing import eventually
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.resync import ResyncRequested
from tests.bus.conftest import Secured
from tests.bus.desk import Operator
from tests.bus.test_users import SPEC_CHANGED, a_message, a_service, channel_of

pytestmark = pytest.mark.integration


@pytest.fixture
async def operator(secured: Secured, tmp_path: Path) -> Operator:
    configuration = {
        "amqp_url": secured.url_of(secured.names.operator),
        "namespace": secured.namespace,
        "services": {"healer/tokyo": {}},
    }
    async with channel_of(secured.admin_url) as channel:
        queue = await channel.declare_queue(
            secured.names.dead_letter_queue("healer", "tokyo"), durable=True,
            arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
        )  # fmt: skip
        await queue.purge()
    return Operator(tmp_path, configuration)


async def say(secured: Secured, message: aio_pika.Message, key: str = SPEC_CHANGED) -> None:
    async with channel_of(secured.admin_url) as channel:
        await (await channel.get_exchange(secured.names.events)).publish(message, key)


async def letters(operator: Operator) -> list[dict[str, Any]]:
    said = await operator.admin("dead-letters", "list", "-f", "json")
    assert said.code == 0, said.errors
    found: list[dict[str, Any]] = said.document
    return found


def put_aside(service: Any, count: int = 1) -> Callable[[], bool]:
    return lambda: service.metrics.dead_letters._value.get() >= count


async def test_a_letter_is_listed_with_its_cause_shown_and_replayed(
    secured: Secured, operator: Operator, tmp_path: Path
) -> None:
    async with a_service(secured, "healer", tmp_path) as (service, bus):
        await eventually(bus.is_ready, "the healer consumes")
        # nobody vouches for it, so it is put aside; the operator vouches for it by replaying it
        await say(secured, a_message("api/global"))
        await eventually(put_aside(service), "it is put aside")
        (letter,) = await letters(operator)
        assert letter["subject"] == "clusters/c1"
        assert "nobody" in letter["cause"]
        assert await letters(operator) == [letter], "a look changes nothing"
        shown = await operator.admin("dead-letters", "show", letter["id"], "-f", "json")
        assert shown.document["message"]["type"] == ClusterSpecChanged.TYPE
        replayed = await operator.admin("dead-letters", "replay", letter["id"])
        assert replayed.code == 0, replayed.errors
        handled = service.metrics.messages.labels(type=ClusterSpecChanged.TYPE, disposition="handled")
        await eventually(lambda: handled._value.get() == 1, "it is handled")
        assert await letters(operator) == []
        assert (await operator.admin("dead-letters", "replay", letter["id"])).code == 1


async def test_what_fails_again_comes_back_and_can_be_replayed_again(
    secured: Secured, operator: Operator, tmp_path: Path
) -> None:
    async with a_service(secured, "healer", tmp_path) as (service, bus):
        await eventually(bus.is_ready, "the healer consumes")
        await say(secured, aio_pika.Message(b"not json"))
        for times in (1, 2):
            await eventually(put_aside(service, times), "it is put aside")
            (letter,) = await letters(operator)
            assert letter["routing_key"] == SPEC_CHANGED
            assert (await operator.admin("dead-letters", "replay", "--all")).code == 0
        await eventually(put_aside(service, 3), "it is put aside again")


async def test_a_letter_stays_when_its_queue_is_not_there(secured: Secured, operator: Operator) -> None:
    async with channel_of(secured.admin_url) as channel:
        await channel.queue_delete(secured.names.queue("healer", "tokyo", "cluster"))
        message = aio_pika.Message(b"{}", headers={"x-cause": "a test", "x-routing-key": SPEC_CHANGED})
        await channel.default_exchange.publish(message, secured.names.dead_letter_queue("healer", "tokyo"))
    said = await operator.admin("dead-letters", "replay", "--all")
    assert said.code == 1
    assert "there is no queue" in said.errors
    assert len(await letters(operator)) == 1


async def test_only_what_is_named_is_dropped(secured: Secured, operator: Operator) -> None:
    async with channel_of(secured.admin_url) as channel:
        for body in (b"one", b"two"):
            await channel.default_exchange.publish(
                aio_pika.Message(body), secured.names.dead_letter_queue("healer", "tokyo")
            )
    first, second = await letters(operator)
    assert (await operator.admin("dead-letters", "drop", first["id"])).code == 1, "it asks, and nobody answers"
    assert len(await letters(operator)) == 2
    assert (await operator.admin("dead-letters", "drop", "--yes", first["id"])).code == 0
    assert await letters(operator) == [second]


@pytest.mark.parametrize("cluster", [None, "c1"], ids=["everything", "one cluster"])
async def test_services_are_asked_to_repeat_what_they_know(
    secured: Secured, operator: Operator, tmp_path: Path, cluster: str | None
) -> None:
    async with a_service(secured, "healer", tmp_path) as (service, bus):
        await eventually(bus.is_ready, "the healer consumes")
        named = ["--cluster", cluster] if cluster else []
        said = await operator.admin("resync", "ask", *named)
        assert said.code == 0, said.errors
        handled = service.metrics.messages.labels(type=ResyncRequested.TYPE, disposition="handled")
        await eventually(lambda: handled._value.get() >= 1, "the healer hears it")
        assert service.metrics.dead_letters._value.get() == 0


async def test_the_operators_user_cannot_say_what_services_say(secured: Secured) -> None:
    async with channel_of(secured.url_of(secured.names.operator)) as channel:
        exchange = await channel.get_exchange(secured.names.events, ensure=False)
        with pytest.raises(aio_pika.exceptions.AMQPError, match="ACCESS_REFUSED"):
            await exchange.publish(a_message("api/global"), SPEC_CHANGED)


async def test_a_wrong_password_is_a_sentence_without_it(secured: Secured, operator: Operator) -> None:
    operator.configuration["amqp_url"] = secured.url_of(secured.names.operator).replace(
        secured.passwords[secured.names.operator], "not-the-password"
    )
    said = await operator.admin("dead-letters", "list")
    assert said.code == 2
    assert "cannot be used" in said.errors
    assert "not-the-password" not in said.errors + said.output
