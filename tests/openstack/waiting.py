"""How to wait for a real cloud."""

import time
from collections.abc import Callable
from typing import Any


def until(holds: Callable[[], Any], what: str, within: float) -> Any:
    """Wait until it holds, at most so many seconds; returns what it returned."""
    deadline = time.monotonic() + within
    while not (found := holds()):
        assert time.monotonic() < deadline, f"within {within:.0f} s this did not happen: {what}"
        time.sleep(1)
    return found
