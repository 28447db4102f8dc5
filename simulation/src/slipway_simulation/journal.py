"""What happened, step by step, for a reader; and what must not have happened."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from slipway_simulation.virtual_time import START

WHO: ContextVar[str] = ContextVar("WHO", default="world")
"""On whose behalf the present task runs: a service, a machine, or the world itself."""

_KEPT = 3000
_MISTAKES = ("error", "critical", "exception")
_SHORT_ID = 8


class Violated(AssertionError):
    """An invariant does not hold, or somebody made a mistake. The message says which and how."""


@dataclass
class Journal:
    """The newest lines of one story; `echo` shows them as they come."""

    now: Callable[[], datetime]
    echo: bool = False
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT))
    violations: list[str] = field(default_factory=list)

    def say(self, sentence: str, **context: object) -> None:
        """One line: when, who, what."""
        elapsed = (self.now() - START).total_seconds()
        words = " ".join(f"{key}={_short(value)}" for key, value in context.items() if value is not None)
        line = f"{elapsed:9.3f}  {WHO.get():<14} {sentence} {words}".rstrip()
        self.lines.append(line)
        if self.echo:
            print(line)  # noqa: T201  this is what the user asked for

    def violated(self, sentence: str) -> None:
        """Something must not be so. The story ends at its next breath."""
        self.say(f"VIOLATED: {sentence}")
        self.violations.append(sentence)

    def check(self) -> None:
        """Raises Violated if anything was violated so far."""
        if self.violations:
            raise Violated("; ".join(self.violations[:5]))

    def listen(self) -> None:
        """From now on the services' own log goes here; an error in it is a violation."""
        structlog.configure(
            processors=[structlog.processors.format_exc_info, self._take],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        )

    def _take(self, _logger: object, method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        sentence = str(event.pop("event", ""))
        exception = event.pop("exception", None)
        self.say(sentence, **event)
        if method in _MISTAKES:
            self.violated(f"{WHO.get()} made a mistake: {sentence} {dict(event)}\n{exception or ''}")
        raise structlog.DropEvent


def _short(value: object) -> str:
    """Long ids by their ends: their beginnings are times, and all alike."""
    text = str(value)
    if len(text) == 36 and text.count("-") == 4:
        return "…" + text[-_SHORT_ID:]
    return text if len(text) <= 300 else text[:300] + "…"
