"""slipway-admin doctor: a real service and a real broker, whole at first, then with one thing wrong after the other."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import httpx
import pytest
from aio_pika.abc import AbstractChannel

from slipway_chassis.testing import eventually
from slipway_platform.broker import PrivateBroker, rabbitmq_server
from slipway_platform.layout import free_port
from slipway_platform.processes import Process
from tests.bus.desk import Operator, Said

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

CLUSTER_QUEUE = "healer.sandbox.cluster"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateBroker, str]]:
    """A RabbitMQ with its management API, and where that answers."""
    if rabbitmq_server() is None:
        pytest.skip("no rabbitmq-server here: install the package to test the doctor")
    port = free_port()
    lines = [f"management.tcp.port = {port}", "management.tcp.ip = 127.0.0.1"]
    private = PrivateBroker(tmp_path_factory.mktemp("broker"), lines, ["rabbitmq_management"])
    try:
        private.start()
        yield private, f"http://127.0.0.1:{port}"
    finally:
        private.stop()


class Ward:
    """A healer as a process, and the operator who looks after it."""

    def __init__(self, folder: Path, broker: PrivateBroker, management: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.environment = {
            "SLIPWAY_HEALER_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/healer.db",
            "SLIPWAY_HEALER_AMQP_URL": broker.url,
            "SLIPWAY_HEALER_HTTP_PORT": self.url.rpartition(":")[2],
        }
        command = [sys.executable, "-m", "slipway_healer"]
        self.healer = Process("healer", [*command, "run"], self.environment, folder / "healer.log", folder)
        self.broker = broker
        access = {"check": [*command, "check"], "url": self.url, "environment": self.environment}
        self.operator = Operator(folder, {
            "amqp_url": broker.url, "management_url": management, "services": {"healer/sandbox": access},
        })  # fmt: skip

    async def start(self) -> None:
        self.healer.start()
        await eventually(self._is_ready, "the healer is ready", within=60)

    async def _is_ready(self) -> bool:
        try:
            async with httpx.AsyncClient(timeout=5) as client:
                return (await client.get(f"{self.url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        connection = await aio_pika.connect(self.broker.url)
        async with connection:
            yield await connection.channel()

    async def doctor(self) -> Said:
        return await self.operator.admin("doctor", "-f", "json")

    async def findings(self) -> set[str]:
        said = await self.doctor()
        assert said.output, said.errors
        found = said.document["findings"]
        assert said.code == (1 if found else 0)
        assert all(each["message"] and each["remedy"] for each in found)
        return {f"{each['code']} {each['subject']}" for each in found}


@pytest.fixture
async def ward(broker: tuple[PrivateBroker, str], tmp_path: Path) -> AsyncIterator[Ward]:
    there = Ward(tmp_path, *broker)
    await there.start()
    yield there
    there.healer.stop()
    async with there.channel() as channel:
        for name in ("healer.sandbox.dead-letters", CLUSTER_QUEUE):
            await channel.queue_delete(name)


async def test_a_healthy_service_has_no_findings(ward: Ward) -> None:
    said = await ward.doctor()
    assert said.document == {"findings": [], "not_looked_at": []}
    assert said.code == 0


async def test_a_missing_binding_a_dead_letter_and_a_dead_service_are_named(ward: Ward) -> None:
    async with ward.channel() as channel:
        queue = await channel.get_queue(CLUSTER_QUEUE)
        await queue.unbind("slipway.events", "cluster.spec_changed.v1.sandbox")
        message = aio_pika.Message(b"not json")
        await (await channel.get_exchange("slipway.events")).publish(message, "cluster.deleted.v1.sandbox")
    expected = {f"QueueUnbound {CLUSTER_QUEUE}", "DeadLetters healer.sandbox.dead-letters"}

    async def found() -> bool:
        return await ward.findings() == expected

    await eventually(found, "both are found")
    ward.healer.kill()
    dead = await ward.findings()
    assert {"ServiceAway healer/sandbox", f"NoConsumer {CLUSTER_QUEUE}"} <= dead
    async with ward.channel() as channel:
        await channel.queue_delete(CLUSTER_QUEUE)
    assert f"QueueMissing {CLUSTER_QUEUE}" in await ward.findings()
    await ward.start()
    assert await ward.findings() == {"DeadLetters healer.sandbox.dead-letters"}


async def test_a_database_that_cannot_be_read_is_named_and_no_password_shown(ward: Ward) -> None:
    away = "postgresql+asyncpg://slipway:sesame@127.0.0.1:1/healer"
    services: Any = ward.operator.configuration["services"]
    services["healer/sandbox"]["environment"]["SLIPWAY_HEALER_DATABASE_URL"] = away
    said = await ward.doctor()
    assert "DatabaseAway" in {each["code"] for each in said.document["findings"]}
    assert "sesame" not in said.output + said.errors


async def test_a_check_that_cannot_run_is_a_finding(ward: Ward) -> None:
    ward.operator.configuration["services"] = {"monitor/sandbox": {"check": ["/nowhere/slipway-monitor", "check"]}}
    assert await ward.findings() == {"ServiceUnchecked monitor/sandbox"}


async def test_without_a_broker_the_doctor_cannot_look(ward: Ward) -> None:
    ward.operator.configuration["amqp_url"] = "amqp://operator:sesame@127.0.0.1:1/"
    said = await ward.doctor()
    assert said.code == 2
    assert "cannot be used" in said.errors
    assert "sesame" not in said.errors
