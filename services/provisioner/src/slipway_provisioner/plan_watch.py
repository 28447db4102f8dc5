"""Holds agents' questions for a newer plan until there is one: one query in a while for all that wait."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.clock import Clock
from slipway_provisioner.store_plans import revisions_of

POLL = timedelta(milliseconds=500)
"""On the critical path of a cluster's creation; a replica that stored the plan cannot tell the others."""


class PlanWatch:
    """All agents that wait in this process."""

    def __init__(self, reading: Callable[[], AbstractAsyncContextManager[AsyncSession]], clock: Clock) -> None:
        self._reading = reading
        self._clock = clock
        self._waiting: Counter[str] = Counter()
        self._revisions: dict[str, int] = {}
        self._read_at: datetime | None = None
        self._lock = asyncio.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Answer all that wait at their next look: the service stops."""
        self._stopping = True

    async def wait(self, node_id: str, after: int, patience: timedelta) -> bool:
        """Return True as soon as the node's plan is newer than `after`, False when that took too long."""
        deadline = self._clock.now() + patience
        self._waiting[node_id] += 1
        try:
            while not self._stopping and self._clock.now() < deadline:
                await self._clock.sleep(min(POLL, deadline - self._clock.now()))
                if await self._revision(node_id) > after:
                    return True
            return False
        finally:
            self._waiting -= Counter({node_id: 1})

    async def _revision(self, node_id: str) -> int:
        async with self._lock:
            now = self._clock.now()
            fresh = self._read_at is not None and now - self._read_at < POLL
            if not fresh or node_id not in self._revisions:
                async with self._reading() as session:
                    known = await revisions_of(session, self._waiting)
                self._revisions = {each: known.get(each, 0) for each in self._waiting}
                self._read_at = now
            return self._revisions.get(node_id, 0)
