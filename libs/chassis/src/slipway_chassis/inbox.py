"""What a service does with a message: record the fact and let the handler mark objects dirty, in one transaction."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, telemetry, work
from slipway_chassis.clock import Clock
from slipway_chassis.metrics import ServiceMetrics
from slipway_contracts.envelope import Event, InvalidEvent, UnknownEventType, parse_event
from slipway_contracts.resync import ClusterFactsAnnounced, ResyncRequested

T = TypeVar("T")

Handler = Callable[[AsyncSession, Any], Awaitable[None]]
"""`on_<event>(session, event)`: runs after the fact was recorded as new; marks objects dirty. Nothing else."""

RESYNC_KIND = "resync"
"""The work queue's kind for saying all facts again: of one cluster, or under the key `all`."""


class Disposition(StrEnum):
    """What became of a message."""

    HANDLED = "handled"
    STALE = "stale"
    UNKNOWN = "unknown"
    INVALID = "invalid"


@dataclass(frozen=True)
class Receipt:
    """What became of a message, and why if it was invalid."""

    disposition: Disposition
    cause: str | None = None


class Commit(Protocol):
    """Makes a change in a transaction of its own (Database.commit)."""

    async def __call__(self, change: Callable[[AsyncSession], Awaitable[T]], /) -> T:
        """The change's result."""
        ...


class Inbox:
    """The messages of one service; `source` is what it calls itself, so that it does not answer its own questions."""

    def __init__(
        self,
        source: str,
        routes: Mapping[type[Event[Any]], Handler],
        clock: Clock,
        commit: Commit,
        tracing: telemetry.Tracing,
        metrics: ServiceMetrics,
    ) -> None:
        self._source = source
        self._routes = routes
        self._clock = clock
        self._commit = commit
        self._tracing = tracing
        self._metrics = metrics

    async def receive(self, message: bytes, *, sender: str | None = None) -> Receipt:
        """Handle one message in one transaction. Raises only when the database is away or we made a mistake.

        `sender`: the source that the bus vouches for, where it does; a message that claims another one is invalid.
        """
        try:
            event = parse_event(message)
        except UnknownEventType as unknown:
            return self._received("unknown", Receipt(Disposition.UNKNOWN, str(unknown)))
        except InvalidEvent as invalid:
            return self._received("unknown", Receipt(Disposition.INVALID, str(invalid)))
        if sender is not None and event.source != sender:
            cause = f"{event.type}: source: {event.source} is claimed, but the broker's user speaks for {sender}"
            return self._received(event.type, Receipt(Disposition.INVALID, cause))
        with self._receiving(event) as span:
            handled = await self._commit(lambda session: self._handle(session, event))
            if handled:
                span.keep()
                self._metrics.message_age.observe(max((self._clock.now() - event.time).total_seconds(), 0.0))
        return self._received(event.type, Receipt(Disposition.HANDLED if handled else Disposition.STALE))

    def _received(self, kind: str, receipt: Receipt) -> Receipt:
        self._metrics.messages.labels(type=kind, disposition=receipt.disposition.value).inc()
        return receipt

    def _receiving(self, event: Event[Any]) -> AbstractContextManager[telemetry.Span]:
        """The span of one message: of the event's own trace, unless this is a repetition of something long past."""
        now = self._clock.now()
        known = event.traceparent if now - event.time < telemetry.LASTS else None
        return self._tracing.span(
            f"receive {event.type}",
            at=now,
            parent=known if known is not None and telemetry.is_traceparent(known) else None,
            kind=telemetry.SpanKind.CONSUMER,
            begins=False,
            subject=event.subject,
        )

    async def _handle(self, session: AsyncSession, event: Event[Any]) -> bool:
        if isinstance(event, ResyncRequested):
            return await self._on_resync_requested(session, event)
        if isinstance(event, ClusterFactsAnnounced):
            return await self._on_facts_announced(session, event)
        if not await facts.record(session, event, self._clock.now()):
            return False
        await self._route(session, event)
        return True

    async def _route(self, session: AsyncSession, event: Event[Any]) -> None:
        handler = self._routes.get(type(event))
        if handler is not None:
            await handler(session, event)

    async def _on_resync_requested(self, session: AsyncSession, event: ResyncRequested) -> bool:
        if event.source == self._source:
            return False
        key = event.data.cluster_id or "all"
        await work.mark_dirty(session, RESYNC_KIND, key, self._clock.now())
        return True

    async def _on_facts_announced(self, session: AsyncSession, event: ClusterFactsAnnounced) -> bool:
        if event.source == self._source:
            return False
        for fresh in await facts.unpack(session, event, self._clock.now()):
            await self._route(session, fresh)
        handler = self._routes.get(ClusterFactsAnnounced)
        if handler is not None:
            await handler(session, event)
        return True
