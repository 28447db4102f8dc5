"""Holds agents' questions for a newer plan until there is one: one query in a while for all that wait."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.clock import Clock
from slipway_provisioner.store_plans import revisions_of

FIRST_PLAN = timedelta(milliseconds=500)
"""Between two looks for a node's first plan, which is on the critical path of a cluster's creation. They are looks, for
a replica that stored a plan cannot tell the others."""

NEXT_PLAN = timedelta(seconds=2)
"""Between two looks for a newer one: every member of every cluster's etcd waits for that, most of them in vain."""

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


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
        """Return True as soon as the node's plan is newer than `after`, False when that took too long.

        All look at the same moments, the multiples of the pace, so that one query answers them.
        """
        deadline = self._clock.now() + patience
        pace = NEXT_PLAN if after else FIRST_PLAN
        self._waiting[node_id] += 1
        try:
            while not self._stopping and (now := self._clock.now()) < deadline:
                await self._clock.sleep(min(pace - (now - _EPOCH) % pace, deadline - now))
                if await self._revision(node_id) > after:
                    return True
            return False
        finally:
            self._waiting -= Counter({node_id: 1})

    async def _revision(self, node_id: str) -> int:
        async with self._lock:
            now = self._clock.now()
            fresh = self._read_at is not None and now - self._read_at < FIRST_PLAN / 2
            if not fresh or node_id not in self._revisions:
                asked = list(self._waiting)  # who comes while the query runs is not answered by it
                async with self._reading() as session:
                    known = await revisions_of(session, asked)
                self._revisions = {each: known.get(each, 0) for each in asked}
                self._read_at = now
            return self._revisions.get(node_id, 0)
