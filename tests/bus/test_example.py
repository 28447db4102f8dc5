"""The example of an owner's automation, run as its reader would: a user that may only listen, a queue of its own."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import aio_pika
import pytest

from slipway_chassis.testing import eventually
from tests.bus.conftest import Secured

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "examples" / "unhealthy_to_webhook.py"


class Webhook(HTTPServer):
    """Keeps what is posted to it; refuses the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusals = refusals
        self.taken: list[dict[str, Any]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refuse, self.server.refusals = self.server.refusals > 0, self.server.refusals - 1
        self.send_response(503 if refuse else 204)
        self.end_headers()
        if not refuse:
            self.server.taken.append(document)

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@contextmanager
def a_webhook(refusals: int = 0) -> Iterator[Webhook]:
    with Webhook(refusals) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@contextmanager
def the_example(secured: Secured, webhook: Webhook) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "AMQP_URL": secured.url_of(secured.reader),
        "QUEUE": f"{secured.reader}.unhealthy",
        "EXCHANGE": secured.names.events,
        "WEBHOOK": f"http://127.0.0.1:{webhook.server_port}/hook",
    }
    process = subprocess.Popen([sys.executable, str(EXAMPLE)], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def is_consumed(connection: aio_pika.abc.AbstractConnection, queue: str) -> bool:
    """Whether somebody listens to the queue; the example binds it before it does."""
    channel = await connection.channel()
    try:
        return (await channel.get_queue(queue)).declaration_result.consumer_count == 1
    except aio_pika.exceptions.ChannelNotFoundEntity:
        return False
    finally:
        await channel.close()


async def test_a_sick_node_is_posted_to_the_webhook_once_it_takes_it(secure: Callable[[str], Secured]) -> None:
    secured = secure("tokyo")
    queue = f"{secured.reader}.unhealthy"
    well = {"type": "slipway.node.ready.v1", "subject": "clusters/c1/nodes/n2"}
    sick = {"type": "slipway.node.unhealthy.v1", "subject": "clusters/c1/nodes/n1"}
    connection = await aio_pika.connect(secured.admin_url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(secured.names.events)
        with a_webhook(refusals=1) as webhook:
            with the_example(secured, webhook) as process:
                await eventually(lambda: is_consumed(connection, queue), "the example listens")
                for key, said in (("node.ready.v1.tokyo", well), ("node.unhealthy.v1.tokyo", sick)):
                    await exchange.publish(aio_pika.Message(json.dumps(said).encode()), key)
                assert await asyncio.to_thread(process.wait, 10) != 0
            with the_example(secured, webhook):
                await eventually(lambda: webhook.taken == [sick], "started again, it posts what was refused")
        await channel.queue_delete(queue)


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 35
