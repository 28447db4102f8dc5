"""Time that passes only when nothing is left to do now: an asyncio event loop that leaps to its next timer.

All code runs as it is, with its own tasks and sleeps; an hour of waiting costs nothing. There are no sockets and no
threads in such a loop, so the order in which things happen is decided by the timers alone.
"""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2035, 1, 1, tzinfo=UTC)
"""Ahead of the real clock, by which keystoneauth judges whether a token is still worth sending."""


class NothingLeftToDo(RuntimeError):
    """Everybody waits for somebody and no timer will end it: a deadlock."""


class _Leap(selectors.SelectSelector):
    """Instead of waiting, moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise NothingLeftToDo("no task can run and no timer is set")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on its own time, which starts at 0."""

    def __init__(self) -> None:
        self._leap = _Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        """Seconds since the loop was made, on its own clock."""
        return self._leap.now


class LoopClock:
    """The services' and machines' clock: the loop's time, as a date."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        return START + timedelta(seconds=self._loop.time())

    async def sleep(self, duration: timedelta) -> None:
        """Return after the duration has passed."""
        await asyncio.sleep(duration.total_seconds())
