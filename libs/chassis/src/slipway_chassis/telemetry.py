"""Traces: which of the things that happen follow from the same request, across services.

A W3C trace context travels with every event, stays at the rows of the work queue that the event made dirty, and goes on
with what is said and done while such a row is worked on. Where nobody collects traces, a context that a caller brought
is handed on unchanged, and nothing else is done.

A look from which nothing follows leaves no span: only what was said, done outside or marked dirty keeps its span.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

import structlog

LASTS = timedelta(hours=1)
"""A trace ends: what happens to an object later belongs to nobody's request any more."""

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class SpanKind(StrEnum):
    """As OpenTelemetry names them."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    CONSUMER = "consumer"


class Recording(Protocol):
    """One span that is being recorded."""

    traceparent: str

    def describe(self, name: str | None, attributes: dict[str, str | float]) -> None:
        """Say more about it: another name, further attributes."""
        ...

    def stop(self, error: str | None, at: datetime | None = None) -> None:
        """It is over, now or at this time."""
        ...

    def send(self) -> None:
        """It is worth keeping; what is not sent is forgotten."""
        ...


class Recorder(Protocol):
    """Where spans go."""

    def start(self, name: str, kind: SpanKind, parent: str | None, at: datetime | None = None) -> Recording:
        """Begin a span, now or at this time; without a parent it begins a trace."""
        ...

    def close(self) -> None:
        """Send what is left; bounded."""
        ...


@dataclass
class Span:
    """Something that is being done: what is said meanwhile follows from it."""

    tracing: "Tracing"
    at: datetime
    traceparent: str | None
    continued: bool
    """Part of a trace that somebody else began."""
    outer: "Span | None" = None
    recording: Recording | None = None
    kept: bool = False
    error: str | None = None
    waiting: list[Recording] = field(default_factory=list)
    """Parts of it that are over and are worth keeping if it is."""

    def keep(self) -> None:
        """Something followed from it."""
        span: Span | None = self
        while span is not None and not span.kept:
            span.kept = True
            span = span.outer

    def end(self) -> None:
        """It is over: sent if anything followed from it, else left to what it is a part of."""
        if self.recording is None:
            return
        self.recording.stop(self.error)
        if self.kept or self.error is not None:
            for each in (*self.waiting, self.recording):
                each.send()
        elif self.outer is not None:
            self.outer.waiting += [*self.waiting, self.recording]

    def describe(self, name: str | None = None, /, **attributes: str | float) -> None:
        """Say more about it."""
        if self.recording is not None:
            self.recording.describe(name, attributes)


_current: ContextVar[Span | None] = ContextVar("slipway_span", default=None)


def is_traceparent(text: str) -> bool:
    """Whether this is a W3C trace context of version 00."""
    return _TRACEPARENT.fullmatch(text) is not None


def trace_of(traceparent: str | None) -> str | None:
    """The trace that a context belongs to."""
    return traceparent.split("-")[1] if traceparent else None


def said() -> str | None:
    """The context of what is said now; the present span is kept for it."""
    span = _current.get()
    if span is None or span.traceparent is None:
        return None
    span.keep()
    return span.traceparent


def present() -> Span | None:
    """The span of what is being done now."""
    return _current.get()


def passed_on() -> tuple[str, datetime] | None:
    """The context of work that follows from what is done now, and when that was.

    None outside of a trace that somebody else began: a look of our own accord does not take over what others wait for.
    """
    span = _current.get()
    if span is None or span.traceparent is None or not span.continued:
        return None
    span.keep()
    return span.traceparent, span.at


@contextmanager
def step(name: str, *, changes: bool, **attributes: str | float) -> Iterator[None]:
    """A call to the outside as a part of the present span, kept for its own sake if it changes something there.

    Outside of a recorded span it is nothing.
    """
    outer = _current.get()
    if outer is None or outer.recording is None:
        yield
        return
    with outer.tracing.span(name, at=outer.at, parent=outer.traceparent, kind=SpanKind.CLIENT) as span:
        span.describe(**attributes)
        if changes:
            span.keep()
        yield


@dataclass
class Tracing:
    """Opens the spans of one service; without a recorder it only hands contexts on."""

    recorder: Recorder | None = field(default=None)

    @contextmanager
    def span(
        self,
        name: str,
        *,
        at: datetime,
        parent: str | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        begins: bool = True,
        **attributes: str | float,
    ) -> Iterator[Span]:
        """What is done in this block is one span: of the parent's trace, or of a new one if it may begin one."""
        span = Span(self, at, parent, continued=parent is not None)
        if self.recorder is not None and (begins or parent is not None):
            span.recording = self.recorder.start(name, kind, parent)
            span.recording.describe(None, attributes)
            span.traceparent = span.recording.traceparent
        outer = _current.get()
        if outer is not None and outer.tracing is self:
            span.outer = outer
        token = _current.set(span)
        try:
            with structlog.contextvars.bound_contextvars(**_log_context(span)):
                yield span
        except BaseException as error:
            span.error = span.error or type(error).__name__
            raise
        finally:
            _current.reset(token)
            span.end()

    def record(
        self, name: str, parent: str, began: datetime, ended: datetime, error: str | None, **attributes: str
    ) -> None:
        """A span of the past: what an agent reports that it did."""
        if self.recorder is not None:
            recording = self.recorder.start(name, SpanKind.INTERNAL, parent, began)
            recording.describe(None, dict(attributes))
            recording.stop(error, max(began, ended))
            recording.send()

    def close(self) -> None:
        """Send what is left."""
        if self.recorder is not None:
            self.recorder.close()


def _log_context(span: Span) -> dict[str, str]:
    trace = trace_of(span.traceparent) if span.continued else None
    return {"trace_id": trace} if trace is not None else {}
