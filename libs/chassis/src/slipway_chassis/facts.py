"""Facts: what the other services said last. A handler records one; a reconciler reads them.

A row per (source, subject) is replaced only by a greater sequence: so duplicates, reordering and the loss of older
events are harmless. Endings stay as tombstones.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.database import upsert
from slipway_chassis.tables import facts, listings
from slipway_contracts.envelope import Body, Event, InvalidEvent, UnknownEventType, event_of, parse_event
from slipway_contracts.resync import ClusterFactsAnnounced

B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Fact(Generic[B]):
    """One fact: its body and what the envelope said of it."""

    source: str
    subject: str
    sequence: int
    type: str
    ended: bool
    received_at: datetime
    time: datetime
    body: B
    event: Event[Any]


async def record(session: AsyncSession, event: Event[Any], now: datetime) -> bool:
    """Keep the fact if it is newer than what is known; returns whether it was."""
    return await upsert(
        session,
        facts,
        {
            "source": event.source,
            "subject": event.subject,
            "sequence": event.order,
            "type": event.type,
            "body": type(event.data).__name__,
            "cluster_id": getattr(event.data, "cluster_id", None),
            "ended": event.ENDS,
            "document": event.to_json().decode(),
            "received_at": now,
        },
        keys=("source", "subject"),
        newer="sequence",
    )


async def unpack(session: AsyncSession, announcement: ClusterFactsAnnounced, now: datetime) -> list[Event[Any]]:
    """Unpack a complete list: record what is newer, end what is absent; returns the events that were new.

    A fact whose sequence is not below the list's is younger than the list and is left alone. A list that is older than
    one that was here before says nothing of absence.
    """
    current = await _is_current(session, announcement, now)
    fresh: list[Event[Any]] = []
    known: list[Event[Any]] = []
    listed: set[str] = set()
    for document in announcement.data.facts:
        try:
            event = event_of(document)
        except (UnknownEventType, InvalidEvent):
            listed.add(str(document.get("subject")))
            continue
        listed.add(event.subject)
        if event.source == announcement.source:
            (fresh if await record(session, event, now) else known).append(event)
    if current:
        fresh += await _revive(session, announcement, known, now)
        await _end_absent(session, announcement, listed, now)
    return fresh


async def _is_current(session: AsyncSession, announcement: ClusterFactsAnnounced, now: datetime) -> bool:
    """Note when the list came; False when a younger one of this source and cluster was here before."""
    body = announcement.data
    values = {
        "source": announcement.source,
        "cluster_id": body.cluster_id,
        "listed_sequence": int(body.listed_at),
        "received_at": now,
    }
    if await upsert(session, listings, values, keys=("source", "cluster_id"), newer="listed_sequence"):
        return True
    place = (listings.c.source == announcement.source, listings.c.cluster_id == body.cluster_id)
    last = (await session.execute(select(listings.c.listed_sequence).where(*place))).scalar_one()
    return bool(last == int(body.listed_at))


async def _revive(
    session: AsyncSession, announcement: ClusterFactsAnnounced, known: list[Event[Any]], now: datetime
) -> list[Event[Any]]:
    """Facts that the owner lists though an earlier list left them out: they were said in a transaction that was not
    committed yet when that list was made. Returns their events."""
    ended = select(facts.c.subject, facts.c.sequence).where(
        facts.c.source == announcement.source,
        facts.c.cluster_id == announcement.data.cluster_id,
        facts.c.ended.is_(True),
    )
    sequences = {row.subject: row.sequence for row in await session.execute(ended)}
    back = [event for event in known if not event.ENDS and sequences.get(event.subject) == event.order]
    for event in back:
        await session.execute(
            update(facts)
            .where(facts.c.source == event.source, facts.c.subject == event.subject)
            .values(ended=False, received_at=now)
        )
    return back


async def _end_absent(
    session: AsyncSession, announcement: ClusterFactsAnnounced, listed: set[str], now: datetime
) -> None:
    """What the owner does not list any more has ended, unless the fact is younger than the list.

    Its tombstone is kept from now on, however old the fact is.
    """
    body = announcement.data
    await session.execute(
        update(facts)
        .where(
            facts.c.source == announcement.source,
            facts.c.cluster_id == body.cluster_id,
            facts.c.sequence < int(body.listed_at),
            facts.c.subject.not_in(listed),
            facts.c.ended.is_(False),
        )
        .values(ended=True, received_at=now)
    )


async def listed_at(session: AsyncSession, source: str, cluster_id: str) -> datetime | None:
    """When the owner's complete list about the cluster was last received here, if ever."""
    return (
        await session.execute(
            select(listings.c.received_at).where(listings.c.source == source, listings.c.cluster_id == cluster_id)
        )
    ).scalar_one_or_none()


async def fact_of(session: AsyncSession, body: type[B], subject: str, *, ended: bool = False) -> Fact[B] | None:
    """The newest fact with this body about the subject; ended ones only when asked for."""
    found = await _select(session, _OF_SUBJECT, {"of_body": body.__name__, "of_subject": subject}, ended=ended)
    return max(found, key=lambda fact: fact.sequence, default=None)


async def facts_of(
    session: AsyncSession, body: type[B], *, cluster_id: str | None = None, ended: bool = False
) -> list[Fact[B]]:
    """All facts with this body, of one cluster or of all, by subject; ended ones only when asked for."""
    if cluster_id is None:
        return await _select(session, _OF_BODY, {"of_body": body.__name__}, ended=ended)
    return await _select(session, _OF_CLUSTER, {"of_body": body.__name__, "of_cluster": cluster_id}, ended=ended)


async def facts_of_clusters(
    session: AsyncSession, body: type[B], cluster_ids: Collection[str], *, ended: bool = False
) -> list[Fact[B]]:
    """As facts_of, of all these clusters, in one query."""
    wanted = {"of_body": body.__name__, "of_clusters": list(cluster_ids)}
    return await _select(session, _OF_CLUSTERS, wanted, ended=ended)


async def facts_about(session: AsyncSession, cluster_id: str, *subjects: str) -> list[Fact[Any]]:
    """All facts about a cluster and about these other subjects, the ended ones too, in one query; by subject."""
    query = select(facts).where((facts.c.cluster_id == cluster_id) | facts.c.subject.in_(subjects))
    return [_read(row) for row in (await session.execute(query.order_by(facts.c.subject))).mappings()]


async def is_empty(session: AsyncSession) -> bool:
    """Whether nothing was ever recorded: the service is new, or its database was lost."""
    return (await session.execute(select(facts.c.subject).limit(1))).first() is None


async def forget_endings(session: AsyncSession, before: datetime) -> None:
    """Drop the tombstones of what ended, as far as is known here, before this time."""
    await session.execute(delete(facts).where(facts.c.ended.is_(True), facts.c.received_at < before))


# Built once, with and without the ended ones: building a statement costs more than running it.
_ANY_OF_BODY = select(facts).where(facts.c.body == bindparam("of_body")).order_by(facts.c.subject)
_LIVING = facts.c.ended.is_(False)


def _both(query: Select[Any]) -> tuple[Select[Any], Select[Any]]:
    return query.where(_LIVING), query


_OF_BODY = _both(_ANY_OF_BODY)
_OF_SUBJECT = _both(_ANY_OF_BODY.where(facts.c.subject == bindparam("of_subject")))
_OF_CLUSTERS = _both(_ANY_OF_BODY.where(facts.c.cluster_id.in_(bindparam("of_clusters", expanding=True))))
_OF_CLUSTER = _both(_ANY_OF_BODY.where(facts.c.cluster_id == bindparam("of_cluster")))


async def _select(
    session: AsyncSession, queries: tuple[Select[Any], Select[Any]], values: Mapping[str, Any], *, ended: bool
) -> list[Fact[Any]]:
    return [_read(row) for row in (await session.execute(queries[ended], values)).mappings()]


@lru_cache(maxsize=1024)
def _parsed(document: str) -> Event[Any]:
    """Reconcilers read the same facts again and again; events are frozen, so they may share one."""
    return parse_event(document.encode())


def _read(row: Any) -> Fact[Any]:
    event = _parsed(row["document"])
    return Fact(
        source=row["source"],
        subject=row["subject"],
        sequence=row["sequence"],
        type=row["type"],
        ended=row["ended"],
        received_at=row["received_at"],
        time=event.time,
        body=event.data,
        event=event,
    )
