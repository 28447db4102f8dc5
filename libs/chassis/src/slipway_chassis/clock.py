"""Time is an argument: services ask a Clock, tests step one."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where a service gets the time from."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return after the duration has passed on this clock."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        """Return after the duration has passed."""
        await asyncio.sleep(duration.total_seconds())


class SteppingClock:
    """A clock that stands still until a test steps it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        """The time it was last stepped to."""
        return self._now

    def step(self, duration: timedelta) -> None:
        """Move the time on."""
        if duration < timedelta(0):
            raise ValueError("a clock is stepped forward only")
        self._now += duration

    async def sleep(self, duration: timedelta) -> None:
        """Step by the duration: whoever sleeps on this clock moves it."""
        self.step(duration)
        await asyncio.sleep(0)
