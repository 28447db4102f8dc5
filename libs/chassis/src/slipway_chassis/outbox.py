"""What a service says: its own facts, written in the same transaction as the state they speak of.

`announce` puts a changed fact into the outbox; a relay publishes the outbox with confirms. A fact equal to the one
said last is not said again. `repeat_cluster` says all of them again, for whoever missed some.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import telemetry
from slipway_chassis.clock import Clock
from slipway_chassis.database import upsert
from slipway_chassis.ids import new_id
from slipway_chassis.tables import announced, outbox
from slipway_contracts.envelope import Body, Event, sequence_text, source_of
from slipway_contracts.resync import ClusterFacts, ClusterFactsAnnounced, ResyncRequest, ResyncRequested

ENDINGS_KEPT = timedelta(days=7)


_SAID_LAST = select(announced).where(announced.c.subject == bindparam("of_subject"))


@dataclass(frozen=True)
class Outgoing:
    """One message on its way to the bus."""

    row_id: int
    routing_key: str
    event_id: str
    document: bytes


class Announcer:
    """Speaks for one service in one region (`global` for the api)."""

    def __init__(self, service: str, region: str, clock: Clock) -> None:
        self.source = source_of(service, region)
        self.region = region
        self._clock = clock

    async def announce(
        self,
        session: AsyncSession,
        event_class: type[Event[Any]],
        subject: str,
        body: Body,
        *,
        region: str | None = None,
        correlation_id: str | None = None,
    ) -> bool:
        """Say what the state of the subject now is; returns False when exactly this was said last.

        What is said of a cluster carries the trace that it follows from.
        """
        now = self._clock.now()
        last = (await session.execute(_SAID_LAST, {"of_subject": subject})).mappings().first()
        said = body.model_dump(mode="json")
        if last is not None and last["type"] == event_class.TYPE and _same(last["document"], said):
            return False
        cluster_id = getattr(body, "cluster_id", None)
        order = max((last["sequence"] if last else 0) + 1, int(now.timestamp() * 1_000_000))
        event = event_class(
            id=new_id(now),
            type=event_class.TYPE,
            source=self.source,
            subject=subject,
            time=now,
            region=region or self.region,
            sequence=sequence_text(order),
            correlationid=correlation_id,
            traceparent=telemetry.said() if cluster_id is not None else None,
            data=body,
        )
        document = event.to_json().decode()
        await upsert(
            session,
            announced,
            {
                "subject": subject,
                "sequence": order,
                "type": event.type,
                "region": event.region,
                "cluster_id": cluster_id,
                "ended": event_class.ENDS,
                "document": document,
                "announced_at": now,
            },
            keys=("subject",),
        )
        await self._send(session, event)
        return True

    async def request_resync(self, session: AsyncSession, *, cluster_id: str | None = None) -> None:
        """Ask all owners of this region to repeat their facts; the global api asks those of all regions."""
        await self._send_passing(
            session,
            ResyncRequested,
            f"resync/{self.source}",
            ResyncRequest(requester=self.source, cluster_id=cluster_id),
            self.region,
        )

    async def repeat_cluster(self, session: AsyncSession, cluster_id: str) -> None:
        """Say all facts about one cluster again, as one complete list with the endings of the last week.

        A service that has no facts about it says so with an empty list.
        """
        now = self._clock.now()
        rows = (
            await session.execute(
                select(announced).where(announced.c.cluster_id == cluster_id).order_by(announced.c.subject)
            )
        ).all()
        kept = [row for row in rows if not row.ended or row.announced_at > now - ENDINGS_KEPT]
        newest = max((row.sequence for row in rows), default=0)
        await self._send_passing(
            session,
            ClusterFactsAnnounced,
            f"clusters/{cluster_id}/facts",
            ClusterFacts(
                cluster_id=cluster_id,
                listed_at=sequence_text(max(newest + 1, int(now.timestamp() * 1_000_000))),
                facts=tuple(json.loads(row.document) for row in kept),
            ),
            rows[-1].region if rows else self.region,
        )

    async def clusters_announced(self, session: AsyncSession) -> list[str]:
        """The clusters that this service has facts about, the ended ones of the last week included."""
        since = self._clock.now() - ENDINGS_KEPT
        rows = await session.execute(
            select(announced.c.cluster_id)
            .where(
                announced.c.cluster_id.is_not(None),
                (announced.c.ended.is_(False)) | (announced.c.announced_at > since),
            )
            .distinct()
            .order_by(announced.c.cluster_id)
        )
        return [row[0] for row in rows]

    async def _send_passing(
        self, session: AsyncSession, event_class: type[Event[Any]], subject: str, body: Body, region: str
    ) -> None:
        now = self._clock.now()
        await self._send(
            session,
            event_class(
                id=new_id(now),
                type=event_class.TYPE,
                source=self.source,
                subject=subject,
                time=now,
                region=region,
                sequence=sequence_text(int(now.timestamp() * 1_000_000)),
                data=body,
            ),
        )

    async def _send(self, session: AsyncSession, event: Event[Any]) -> None:
        message = {
            "routing_key": event.routing_key,
            "event_id": event.id,
            "document": event.to_json().decode(),
            "created_at": self._clock.now(),
        }
        await session.execute(insert(outbox), message)


async def pending(session: AsyncSession, limit: int) -> list[Outgoing]:
    """The oldest messages that are not confirmed yet; other replicas' batches are skipped."""
    query = select(outbox).order_by(outbox.c.id).limit(limit)
    if session.get_bind().dialect.name != "sqlite":
        query = query.with_for_update(skip_locked=True)
    return [
        Outgoing(row["id"], row["routing_key"], row["event_id"], row["document"].encode())
        for row in (await session.execute(query)).mappings()
    ]


async def confirmed(session: AsyncSession, row_ids: Sequence[int]) -> None:
    """Forget messages that the broker has."""
    if row_ids:
        await session.execute(delete(outbox).where(outbox.c.id.in_(row_ids)))


async def oldest(session: AsyncSession) -> datetime | None:
    """Since when the oldest message waits."""
    return (await session.execute(select(outbox.c.created_at).order_by(outbox.c.id).limit(1))).scalar_one_or_none()


async def forget_endings(session: AsyncSession, before: datetime) -> None:
    """Drop own endings said before this time."""
    await session.execute(delete(announced).where(announced.c.ended.is_(True), announced.c.announced_at < before))


def _same(document: str, said: dict[str, Any]) -> bool:
    # the stored document leaves out what is None
    known: dict[str, Any] = json.loads(document)["data"]
    return bool(known == _without_none(said))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
