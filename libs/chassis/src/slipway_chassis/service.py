"""A service as a value: its routes, its reconcilers, its database. Every step of it can be taken by hand.

The runner takes the steps in loops on the machine's clock and a real broker; a simulation takes them one by one, in
any order, on a stepping clock. Both run exactly this code.

    receive     one message: record the fact, let the handler mark objects dirty, commit; all in one transaction
    work_once   claim one due object, reconcile it, release it with the time of the next look
    relay_once  publish a batch of the outbox, forget what the broker confirmed
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, Protocol, TypeVar

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import crash, facts, outbox, telemetry, work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database, is_away, is_conflict
from slipway_chassis.errors import GiveUp, LeaseLost, RetryLater
from slipway_chassis.ids import replica_name
from slipway_chassis.inbox import RESYNC_KIND, Handler, Inbox, Receipt
from slipway_chassis.metrics import ServiceMetrics
from slipway_chassis.outbox import Announcer, Outgoing
from slipway_chassis.work import Lease
from slipway_contracts.envelope import Event, source_of
from slipway_contracts.resync import ClusterFactsAnnounced, ResyncRequested

log = structlog.get_logger()

T = TypeVar("T")

RESYNC_EVERY = timedelta(minutes=10)
LONGEST_BACKOFF = timedelta(minutes=5)


class Reconciler(Protocol):
    """Brings one kind of object to where it should be. `reconcile` is a column of gates."""

    kind: str

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """Observe, decide, commit intent, take effect, commit the result.

        Returns when to look again; None: the object is gone and its row leaves the queue, unless it was marked dirty
        meanwhile. Raises RetryLater or GiveUp with a reason; any other exception is a mistake of ours, logged and
        retried with backoff.
        """
        ...

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """Turn the reason into a condition that a user can read, in the transaction that releases the object."""
        ...


Publish = Callable[[Sequence[Outgoing]], Awaitable[Sequence[int]]]
"""Publishes a batch and returns the row ids that the broker confirmed."""


@dataclass
class Service:
    """One service. Built by the service's own `build_app`; nothing in it starts by itself."""

    name: str
    region: str
    database: Database
    clock: Clock
    metadata: MetaData
    routes: Mapping[type[Event[Any]], Handler]
    reconcilers: Sequence[Reconciler] = ()
    schedule: Mapping[tuple[str, str], timedelta] = field(default_factory=dict)
    """(kind, key) of objects that exist from the start, with the delay of their first look."""
    lease_for: timedelta = timedelta(seconds=60)
    replica: str = field(default_factory=replica_name)
    random: Random = field(default_factory=Random)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.announcer = Announcer(self.name, self.region, self.clock)
        self.metrics = ServiceMetrics(self.registry)
        self.tracing = telemetry.Tracing()
        self.inbox = Inbox(self.source, self.routes, self.clock, self._commit, self.tracing, self.metrics)
        self.started_at = self.clock.now()
        self.outbox_wake = asyncio.Event()
        self.work_wake = asyncio.Event()
        self._by_kind: dict[str, Reconciler] = {each.kind: each for each in self.reconcilers}

    @property
    def source(self) -> str:
        """This service's CloudEvents source."""
        return source_of(self.name, self.region)

    @property
    def consumes(self) -> tuple[type[Event[Any]], ...]:
        """The events this service has queues for."""
        return (*self.routes, ResyncRequested, ClusterFactsAnnounced)

    @property
    def kinds(self) -> list[str]:
        """The kinds of objects in its work queue."""
        return [RESYNC_KIND, *self._by_kind]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A transaction of this service; wakes relay and workers after its commit."""
        async with self.database.transaction() as session:
            yield session
        self.wake()

    async def _commit(self, change: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """As Database.commit; wakes relay and workers after it."""
        result = await self.database.commit(change)
        self.wake()
        return result

    def wake(self) -> None:
        """Let relay and workers look now instead of at their next poll."""
        self.outbox_wake.set()
        self.work_wake.set()

    async def announce(
        self, session: AsyncSession, event_class: type[Event[Any]], subject: str, body: Any, **more: Any
    ) -> bool:
        """See Announcer.announce."""
        return await self.announcer.announce(session, event_class, subject, body, **more)

    async def start(self) -> None:
        """What a process does first: schedule what always exists, ask for facts when there are none."""
        self.started_at = self.clock.now()
        async with self.transaction() as session:
            spread = self.random.uniform(0.2, 1.0)
            await work.ensure_scheduled(session, RESYNC_KIND, "all", self.clock.now() + RESYNC_EVERY * spread)
            for (kind, key), delay in self.schedule.items():
                await work.ensure_scheduled(session, kind, key, self.clock.now() + delay)
            if await facts.is_empty(session):
                await self.announcer.request_resync(session)

    async def catch_up(self) -> None:
        """The broker knows nothing of us: what it kept for us, or for others, is lost. All is said and asked again.

        A service that hears this request repeats its facts; one whose queues are not there yet does so when they are,
        for it is then in the same place.
        """
        async with self.transaction() as session:
            await work.mark_dirty(session, RESYNC_KIND, "all", self.clock.now(), shared=True)
            await self.announcer.request_resync(session)

    # -- messages

    async def receive(self, message: bytes, *, sender: str | None = None) -> Receipt:
        """See Inbox.receive."""
        return await self.inbox.receive(message, sender=sender)

    # -- work

    async def work_once(self) -> bool:
        """Reconcile one due object; returns False when none was due."""
        leases = await self.claim(1)
        for lease in leases:
            await self.take(lease)
        return bool(leases)

    async def claim(self, limit: int) -> list[Lease]:
        """Up to so many due objects, ours to reconcile from now on."""

        async def claimed(session: AsyncSession) -> list[Lease]:
            return await work.claim(session, self.clock, self.replica, self.kinds, self.lease_for, limit)

        return await self.database.commit(claimed)

    async def take(self, lease: Lease) -> None:
        """Reconcile a claimed object and release it. Raises only when the database is away or we made a mistake."""
        named = f"reconcile {lease.kind}"
        with self.tracing.span(named, at=self.clock.now(), parent=lease.traceparent, key=lease.key) as span:
            await self._reconcile(lease, span)

    async def next_due(self) -> timedelta | None:
        """How long until the next object is due, if any is in the queue."""
        async with self.database.reading() as session:
            due_at = await work.next_due(session, self.kinds)
        return None if due_at is None else due_at - self.clock.now()

    async def _reconcile(self, lease: Lease, span: telemetry.Span) -> None:
        began = self.clock.now()
        result, error, refusal = "done", None, None
        delay: timedelta | None = timedelta(0)
        try:
            if lease.kind == RESYNC_KIND:
                delay = await self._resync(lease)
            else:
                delay = await self._by_kind[lease.kind].reconcile(lease)
        except LeaseLost:
            self.metrics.reconciled.labels(kind=lease.kind, result="lease_lost").inc()
            return
        except (RetryLater, GiveUp) as given:
            refusal = given
            result = "retry" if isinstance(given, RetryLater) else "give_up"
            delay = given.after if isinstance(given, RetryLater) else LONGEST_BACKOFF
        except Exception as mistake:
            if is_away(mistake):
                raise
            delay = self._backoff(lease.failures)
            if is_conflict(mistake):
                result = "conflict"
            else:
                # a mistake of ours must not stop the other objects
                log.exception("Reconcile failed", kind=lease.kind, key=lease.key)
                result, error = "error", f"{type(mistake).__name__}: {mistake}"[:500]
                span.error = type(mistake).__name__
        span.describe(result=result, reason=refusal.reason.code if refusal is not None else "")
        self.metrics.reconciled.labels(kind=lease.kind, result=result).inc()
        self.metrics.duration.labels(kind=lease.kind).observe((self.clock.now() - began).total_seconds())
        try:
            await self._release(lease, delay, error, refusal)
        except Exception as mistake:
            if refusal is None or is_away(mistake):
                raise
            # the reason could not be told: a mistake of ours, which must not stop the other objects either
            log.exception("Refusal was not told", kind=lease.kind, key=lease.key, reason=refusal.reason.code)
            told = f"{type(mistake).__name__}: {mistake}"[:500]
            await self._release(lease, self._backoff(lease.failures), told, None)

    async def _release(
        self, lease: Lease, delay: timedelta | None, error: str | None, refusal: RetryLater | GiveUp | None
    ) -> None:
        async def give_back(session: AsyncSession) -> None:
            try:
                await work.require(session, lease)
            except LeaseLost:
                return
            if refusal is not None and lease.kind != RESYNC_KIND:
                await self._by_kind[lease.kind].refused(session, lease.key, refusal)
            if delay is None and await work.forget(session, lease):
                return
            now = self.clock.now()
            await work.release(session, lease, due_at=now + (delay or timedelta(0)), now=now, error=error)

        await self._commit(give_back)

    def _backoff(self, failures: int) -> timedelta:
        exponential = timedelta(seconds=0.5 * 2 ** min(failures, 12))
        return min(exponential, LONGEST_BACKOFF) * self.random.uniform(0.7, 1.3)

    async def _resync(self, lease: Lease) -> timedelta | None:
        async with self.transaction() as session:
            await work.require(session, lease)
            if lease.key != "all":
                await self.announcer.repeat_cluster(session, lease.key)
                return None
            for cluster_id in await self.announcer.clusters_announced(session):
                await self.announcer.repeat_cluster(session, cluster_id)
            week_ago = self.clock.now() - outbox.ENDINGS_KEPT
            await facts.forget_endings(session, week_ago)
            await outbox.forget_endings(session, week_ago)
        return RESYNC_EVERY * self.random.uniform(0.9, 1.1)

    # -- outbox

    async def relay_once(self, publish: Publish, limit: int = 200) -> int:
        """Publish the oldest messages; returns how many the broker confirmed.

        Replicas that share a PostgreSQL skip each other's batches; on SQLite no transaction stays open meanwhile,
        for it would keep all writers out.
        """
        if self.database.is_sqlite:
            async with self.database.reading() as session:
                batch = await outbox.pending(session, limit)
            done = await self._publish(batch, publish)
            if done:
                async with self.database.transaction() as session:
                    await outbox.confirmed(session, done)
        else:
            async with self.database.transaction() as session:
                done = await self._publish(await outbox.pending(session, limit), publish)
                await outbox.confirmed(session, done)
        self.metrics.published.inc(len(done))
        return len(done)

    async def _publish(self, batch: Sequence[Outgoing], publish: Publish) -> Sequence[int]:
        if not batch:
            return ()
        with crash.effect("relay"):
            return await publish(batch)
