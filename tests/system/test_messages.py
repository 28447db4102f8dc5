"""What is on the bus by accident or too late: invalid, unknown, repeated and stale messages."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from slipway_chassis.topology import BusNames
from slipway_contracts.envelope import sequence_text
from slipway_platform.platform import Platform
from slipway_platform.testing import User, until

pytestmark = pytest.mark.timeout(90)
KEY = "node.ready.v1.sandbox"


@pytest.fixture
async def channel(platform: Platform) -> AsyncIterator[AbstractChannel]:
    connection = await aio_pika.connect(platform.amqp_url)
    async with connection:
        yield await connection.channel()


async def publish(platform: Platform, channel: AbstractChannel, body: bytes, key: str = KEY) -> None:
    exchange = await channel.get_exchange(BusNames(platform.namespace).events)
    await exchange.publish(aio_pika.Message(body), key, timeout=5)


def received(platform: Platform, disposition: str, kind: str) -> float:
    """How many messages of a type the healer has treated like this."""
    wanted = f'slipway_messages_total{{disposition="{disposition}",type="{kind}"}} '
    lines = httpx.get(f"{platform.address('healer')}/metrics", timeout=5).raise_for_status().text.splitlines()
    return next((float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted)), 0.0)


def row_of(platform: Platform, subject: str) -> tuple[Any, ...]:
    """The healer's fact about a subject, as the monitor said it."""
    with closing(sqlite3.connect(f"file:{platform.folder / 'healer.db'}?mode=ro", uri=True)) as database:
        query = "select document, sequence, ended from facts where source = 'monitor/sandbox' and subject = ?"
        row: tuple[Any, ...] = database.execute(query, (subject,)).fetchone()
    return row


def subject_of_worker(user: User, cluster: str) -> str:
    (worker,) = [each for each in user.nodes(cluster) if each["role"] == "worker"]
    return f"clusters/{user.get(f'/v1/clusters/{cluster}')['id']}/nodes/{worker['id']}"


async def test_an_invalid_message_lies_in_the_dead_letters_with_its_cause(
    platform: Platform, channel: AbstractChannel
) -> None:
    broken = json.dumps({"specversion": "1.0", "type": "slipway.node.ready.v1", "source": "monitor/sandbox"}).encode()
    await publish(platform, channel, broken)
    queue = await channel.get_queue(BusNames(platform.namespace).dead_letter_queue("healer", "sandbox"))
    async with queue.iterator(timeout=20) as letters:
        letter = await anext(letters)
        await letter.ack()
    assert letter.body == broken
    assert str(letter.headers["x-cause"]).startswith("slipway.node.ready.v1: id: Field required")
    assert letter.headers["x-routing-key"] == KEY


async def test_an_event_of_an_unknown_type_is_counted_and_passed_over(
    platform: Platform, channel: AbstractChannel, user: User, standing: str
) -> None:
    subject = subject_of_worker(user, standing)
    known = row_of(platform, subject)
    before = received(platform, "unknown", "unknown")
    document = json.loads(known[0]) | {"type": "slipway.node.teleported.v9", "sequence": sequence_text(known[1] + 1)}
    await publish(platform, channel, json.dumps(document).encode())
    await publish(platform, channel, json.dumps(document).encode(), key="node.teleported.v9.sandbox")
    until(lambda: received(platform, "unknown", "unknown") == before + 1, "the healer counts it", 20)
    assert row_of(platform, subject) == known


@pytest.mark.parametrize(
    ("back", "verdict"),
    [
        pytest.param(0, "healthy", id="a duplicate"),
        pytest.param(1, "unhealthy", id="a stale event that says something else"),
    ],
)
async def test_what_is_not_newer_changes_nothing(
    platform: Platform, channel: AbstractChannel, user: User, standing: str, back: int, verdict: str
) -> None:
    subject = subject_of_worker(user, standing)
    known = row_of(platform, subject)
    document = json.loads(known[0])
    document["sequence"] = sequence_text(known[1] - back)
    document["data"]["verdict"] = verdict
    before = received(platform, "stale", document["type"])
    servers = {each.id for each in user.cloud.compute.servers()}
    key = document["type"].removeprefix("slipway.") + ".sandbox"
    await publish(platform, channel, json.dumps(document).encode(), key)
    until(lambda: received(platform, "stale", document["type"]) > before, "the healer has seen it", 20)
    assert row_of(platform, subject) == known
    assert {each.id for each in user.cloud.compute.servers()} == servers
