"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Mapping


class Backoff:
    """Doubles from one second to the cap, with jitter, so that a restarted service is not met by all agents at once."""

    def __init__(self, source: random.Random, cap: float) -> None:
        self._source = source
        self._cap = cap
        self._attempt = 0

    def next(self, retry_after: float | None = None) -> float:
        """Seconds until the next attempt; never sooner than the server asked for."""
        limit = min(self._cap, 2.0**self._attempt)
        self._attempt = min(self._attempt + 1, 16)
        return max(retry_after or 0.0, limit * self._source.uniform(0.5, 1.0))

    def reset(self) -> None:
        """It worked: the next failure starts small again."""
        self._attempt = 0


def decide_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header, at most five minutes; its date form and nonsense are None."""
    value = headers.get("retry-after", "").strip()
    return min(float(value), 300.0) if value.isdigit() else None
