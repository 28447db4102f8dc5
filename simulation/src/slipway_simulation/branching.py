"""Stories that share a beginning: it is lived once, and each seed goes on from a copy of the whole world.

The copy is the process itself, forked: a world has no thread, no socket and no file, its databases are in memory. So
what a seed does from there on is the same whether it is told alone or as one of many.
"""

import asyncio
import gc
import os
import pickle
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def in_a_copy(go_on: Callable[[], Awaitable[T]]) -> T:
    """Let a copy of this process go on, and wait for its result; here no time passes and nothing changes."""
    loop = asyncio.get_running_loop()
    gc.freeze()  # what is not collected is not written to either: the copy shares its memory
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # of other threads: those are a test runner's, and no copy returns to it
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        await _be_the_copy(loop, go_on, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        content = answer.read()
    os.waitpid(child, 0)  # noqa: ASYNC222  meanwhile nothing else may happen here
    if not content:
        raise RuntimeError("the copy of the world ended without a result; its error is above")
    result: T = pickle.loads(content)  # noqa: S301  our own child's
    return result


async def _be_the_copy(loop: asyncio.AbstractEventLoop, go_on: Callable[[], Awaitable[T]], writing: int) -> None:
    """Never returns: whatever called is the parent's business."""
    try:
        asyncio._set_running_loop(loop)  # asyncio knows the loop by its process
        content = pickle.dumps(await go_on())
        with os.fdopen(writing, "wb") as answer:
            answer.write(content)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        os._exit(0)
