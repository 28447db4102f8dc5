"""What tests and simulations of every service use: a database in a folder, an in-process bus, bounded waits."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import MetaData, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from slipway_chassis.database import Database
from slipway_chassis.inbox import Disposition, Receipt
from slipway_chassis.outbox import Outgoing
from slipway_chassis.service import Service
from slipway_chassis.tables import CHASSIS
from slipway_chassis.topology import BusNames


async def a_database(folder: Path, *metadata: MetaData, name: str = "service") -> Database:
    """An SQLite database with the chassis' tables and these; whoever asks for it closes it."""
    database = Database(f"sqlite+aiosqlite:///{folder / name}.db")
    await database.create_all(CHASSIS, *metadata)
    return database


@asynccontextmanager
async def a_postgresql_database(server_url: str, *metadata: MetaData) -> AsyncIterator[Database]:
    """A database of its own on this server, with the chassis' tables and these; dropped afterwards."""
    name = f"slipway_test_{secrets.token_hex(6)}"
    url = make_url(server_url).set(drivername="postgresql+asyncpg")
    server = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with server.connect() as connection:
        await connection.execute(text(f'CREATE DATABASE "{name}"'))
    database = Database(url.set(database=name).render_as_string(hide_password=False))
    try:
        await database.create_all(CHASSIS, *metadata)
        yield database
    finally:
        await database.close()
        async with server.connect() as connection:
            await connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        await server.dispose()


class MemoryBus:
    """Delivers messages between services of one process, routed as RabbitMQ would; each delivery is a step."""

    def __init__(self, services: Sequence[Service] = ()) -> None:
        self.services = list(services)
        self.published: list[Outgoing] = []
        self.queues: dict[str, list[bytes]] = {}
        self.invalid: list[Receipt] = []

    async def publish(self, batch: Sequence[Outgoing]) -> list[int]:
        """Route a batch; a queue takes each message once."""
        for each in batch:
            self.published.append(each)
            for service in self.services:
                if any(
                    _matches(binding, each.routing_key)
                    for event_class in service.consumes
                    for binding in BusNames.bindings(service.region, event_class)
                ):
                    self.queues.setdefault(service.source, []).append(each.document)
        return [each.row_id for each in batch]

    async def deliver_one(self, service: Service, index: int = 0) -> Receipt | None:
        """Let the service handle one of its waiting messages, if there is one."""
        queue = self.queues.get(service.source, [])
        if not queue:
            return None
        receipt = await service.receive(queue.pop(index))
        if receipt.disposition is Disposition.INVALID:
            self.invalid.append(receipt)
        return receipt

    async def settle(self, rounds: int = 500, pick: random.Random | None = None) -> None:
        """Deliver, reconcile and relay until nothing is left to do now; AssertionError when that never happens."""
        for _ in range(rounds):
            busy = False
            order = list(self.services)
            if pick is not None:
                pick.shuffle(order)
            for service in order:
                while await self.deliver_one(service) is not None:
                    busy = True
                busy = await service.work_once() or busy
                busy = await service.relay_once(self.publish) > 0 or busy
            if not busy:
                return
        raise AssertionError(f"the services did not come to rest within {rounds} rounds")


def _matches(binding: str, routing_key: str) -> bool:
    prefix, _, region = binding.rpartition(".")
    key_prefix, _, key_region = routing_key.rpartition(".")
    return prefix == key_prefix and region in ("*", key_region)


async def eventually(
    condition: Callable[[], Awaitable[bool]] | Callable[[], bool], what: str, *, within: float = 20.0
) -> None:
    """Wait, bounded, for a condition; AssertionError names what did not happen."""
    deadline = time.monotonic() + within
    while True:
        result = condition()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"within {within} s this did not happen: {what}")
        await asyncio.sleep(0.02)
