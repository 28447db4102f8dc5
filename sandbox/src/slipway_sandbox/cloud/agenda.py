"""What happens later in the emulated cloud, in the order of its due times.

Nothing here waits: whoever looks at the cloud first runs what has become due, each piece at its own
due time, so that a stepping clock and a real one give the same history.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count

Action = Callable[[datetime], None]


class Agenda:
    """Actions with a due time; equal times run in the order they were added."""

    def __init__(self) -> None:
        self._due: list[tuple[datetime, int, Action]] = []
        self._order = count()

    def at(self, when: datetime, action: Action) -> None:
        """Run `action(when)` as soon as somebody looks at or after `when`."""
        heapq.heappush(self._due, (when, next(self._order), action))

    def run_due(self, now: datetime) -> None:
        """Run everything due by `now`, including what those actions add in turn."""
        while self._due and self._due[0][0] <= now:
            when, _, action = heapq.heappop(self._due)
            action(when)

    def next_due(self) -> datetime | None:
        """When the next action is due: a simulation may step its clock there."""
        return self._due[0][0] if self._due else None
