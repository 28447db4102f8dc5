"""FastStream's broker, whose connection can also be closed while it is still being made.

RabbitBroker learns of its connection when it stands. A start that is cut before leaves aio-pika connecting for ever,
with tasks that nobody can reach.
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Any

from aio_pika import RobustConnection
from faststream.rabbit import RabbitBroker
from yarl import URL

ATTEMPT_ENDS_WITHIN = 0.2
"""Seconds that an attempt to connect has to succeed before `stop` cuts it: aio-pika that is cut between the handshake
and its own bookkeeping keeps the connection open, and a broker that is there is that far within milliseconds."""
CLOSED_WITHIN = 5.0
"""Seconds that a broker has to say goodbye."""


class ClosableBroker(RabbitBroker):
    """A RabbitBroker that `stop` always leaves without a connection."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._made: RobustConnection | None = None
        self._connection_kwargs["connection_class"] = self._make

    def _make(self, url: URL, **options: Any) -> RobustConnection:
        self._made = RobustConnection(url, **options)
        return self._made

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """End the subscribers and the connection, whatever became of either."""
        made, self._made = self._made, None
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        finally:
            self._connection = self._channel = None
            self.config.disconnect()
            if made is not None and not made.is_closed:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(made.connected.wait(), ATTEMPT_ENDS_WITHIN)
                await asyncio.wait_for(made.close(), CLOSED_WITHIN)
