"""Waiting for a condition, never for a time."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

_LOOK_EVERY = 0.01


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Returns as soon as the condition, which may be asynchronous, holds. Raises TimeoutError when it does not within
    so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            holds = condition()
            if inspect.isawaitable(holds):
                holds = await holds
            if holds:
                return
            await asyncio.sleep(_LOOK_EVERY)
