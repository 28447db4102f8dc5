# /// script
# dependencies = ["aio-pika>=10.2,<11", "httpx>=0.28.1"]
# ///
"""Posts every NodeUnhealthy to a webhook: `uv run` it with AMQP_URL, QUEUE and WEBHOOK set (docs/bus.md)."""

import asyncio
import os

import aio_pika
import httpx


async def main() -> None:
    """Listen until stopped. A webhook that refuses ends the program: started again, it gets the message again."""
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection, httpx.AsyncClient(timeout=10) as http:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1)
        kept = {"x-queue-type": "quorum", "x-max-length": 10_000}
        queue = await channel.declare_queue(os.environ["QUEUE"], durable=True, arguments=kept)
        await queue.bind(os.environ.get("EXCHANGE", "slipway.events"), "node.unhealthy.v1.*")
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process(requeue=True):
                    answer = await http.post(os.environ["WEBHOOK"], content=message.body)
                    answer.raise_for_status()


asyncio.run(main())
