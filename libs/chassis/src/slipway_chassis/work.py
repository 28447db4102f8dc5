"""The work queue: objects that somebody should look at, each with a time; claimed under a lease with a fence.

A row stays as long as its object; "done" only means that it is due again later. Marking a row dirty while it is being
worked on makes it due at once again afterwards. The fence grows with each claim, so that what a replica decided before
it lost its lease is refused at its commit. A lease protects rows, not the outside: effects must be harmless when late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import telemetry
from slipway_chassis.clock import Clock
from slipway_chassis.database import lease_clock
from slipway_chassis.errors import LeaseLost
from slipway_chassis.tables import work

# Statements are built once: building one costs more than running it.
_OBJECT = (work.c.kind == bindparam("of_kind")) & (work.c.key == bindparam("of_key"))
_DUE = (
    select(work)
    .where(work.c.kind.in_(bindparam("kinds", expanding=True)), work.c.due_at <= bindparam("at"))
    .where(or_(work.c.lease_until.is_(None), work.c.lease_until < bindparam("lease_clock")))
    .order_by(work.c.due_at)
)
_FENCE = select(work.c.fence).where(_OBJECT)
_CLAIM = (
    update(work)
    .where(_OBJECT)
    .values(fence=bindparam("next_fence"), lease_owner=bindparam("owner"), lease_until=bindparam("until"))
)
_CLAIMED = select(work.c.version, work.c.fence).where(_OBJECT)
_RELEASE = (
    update(work)
    .where(_OBJECT)
    .values(
        lease_owner=None,
        lease_until=None,
        due_at=bindparam("next_look"),
        failures=bindparam("failed"),
        last_error=bindparam("error"),
    )
)


@dataclass(frozen=True)
class Lease:
    """The right to work on one object until a time."""

    kind: str
    key: str
    owner: str
    fence: int
    version: int
    failures: int
    until: datetime
    traceparent: str | None = None
    """The trace that asked for this look, unless that is long ago."""


async def mark_dirty(session: AsyncSession, kind: str, key: str, due_at: datetime, *, shared: bool = False) -> None:
    """The object is to be looked at by this time at the latest; an earlier time already set is kept.

    What is done for it follows from what is being done now, if that is part of a trace; a `shared` object serves many
    requests and follows none.
    """
    follows, since = (None if shared else telemetry.passed_on()) or (None, None)
    mark = {"kind": kind, "key": key, "due_at": due_at, "traceparent": follows, "traced_at": since}
    await session.execute(_mark(session.get_bind().dialect.name), mark | {"version": 1, "fence": 0, "failures": 0})


@lru_cache
def _mark(dialect: str) -> Any:
    """One statement: between a look at the row and its update another replica could set an earlier time."""
    insert: Any = sqlite_insert if dialect == "sqlite" else postgresql_insert
    columns = ("kind", "key", "due_at", "traceparent", "traced_at", "version", "fence", "failures")
    statement = insert(work).values({name: bindparam(name) for name in columns})
    new = statement.excluded
    goes_on = or_(new.traceparent.is_(None), _trace(new.traceparent) == _trace(work.c.traceparent))
    return statement.on_conflict_do_update(
        index_elements=["kind", "key"],
        set_={
            "due_at": case((work.c.due_at < new.due_at, work.c.due_at), else_=new.due_at),
            "version": work.c.version + 1,
            "traceparent": func.coalesce(new.traceparent, work.c.traceparent),
            "traced_at": case((goes_on, work.c.traced_at), else_=new.traced_at),
        },
    )


def _trace(traceparent: Any) -> Any:
    """The trace that a context belongs to: 00-<trace>-<span>-<flags>."""
    return func.substr(traceparent, 4, 32)


async def ensure_scheduled(session: AsyncSession, kind: str, key: str, due_at: datetime) -> None:
    """The object is in the queue; when it already is, nothing changes."""
    known = (await session.execute(_FENCE, {"of_kind": kind, "of_key": key})).first()
    if known is None:
        await mark_dirty(session, kind, key, due_at)


async def claim(
    session: AsyncSession, clock: Clock, owner: str, kinds: Sequence[str], lease_for: timedelta, limit: int
) -> list[Lease]:
    """Take up to `limit` due objects that nobody works on."""
    now = await lease_clock(session, clock)
    due = _DUE.limit(limit)
    if session.get_bind().dialect.name != "sqlite":
        due = due.with_for_update(skip_locked=True)
    found = await session.execute(due, {"kinds": list(kinds), "at": clock.now(), "lease_clock": now})
    leases = [
        Lease(
            kind=row["kind"],
            key=row["key"],
            owner=owner,
            fence=row["fence"] + 1,
            version=row["version"],
            failures=row["failures"],
            until=now + lease_for,
            traceparent=_live_trace(row["traceparent"], row["traced_at"], clock.now()),
        )
        for row in found.mappings()
    ]
    for lease in leases:
        await session.execute(_CLAIM, _place(lease) | {"next_fence": lease.fence, "owner": owner, "until": lease.until})
    return leases


async def require(session: AsyncSession, lease: Lease) -> None:
    """Check that the lease is ours, and keep others from claiming until the commit; LeaseLost when it is not ours.

    The lock is the weakest that a claim respects (FOR KEY SHARE): with a stronger one two objects that mark each other
    dirty, each holding its own row, would deadlock on PostgreSQL.
    """
    query = _FENCE
    if session.get_bind().dialect.name != "sqlite":
        query = query.with_for_update(read=True, key_share=True)
    fence = (await session.execute(query, _place(lease))).scalar_one_or_none()
    if fence != lease.fence:
        raise LeaseLost(f"{lease.kind} {lease.key} was taken over")


async def extend(session: AsyncSession, clock: Clock, lease: Lease, lease_for: timedelta) -> None:
    """Keep the lease for longer; LeaseLost when it is not ours any more."""
    await require(session, lease)
    until = await lease_clock(session, clock) + lease_for
    await session.execute(
        update(work).where(work.c.kind == lease.kind, work.c.key == lease.key).values(lease_until=until)
    )


async def release(
    session: AsyncSession, lease: Lease, *, due_at: datetime, now: datetime, error: str | None = None
) -> None:
    """Give the object back, due again at this time, or at once if it was marked dirty meanwhile.

    An error counts a failure; its absence resets the count. A lost lease releases nothing.
    """
    query = _CLAIMED
    if session.get_bind().dialect.name != "sqlite":
        query = query.with_for_update(key_share=True)  # nobody may mark it dirty between this look and the update
    row = (await session.execute(query, _place(lease))).first()
    if row is None or row.fence != lease.fence:
        return
    touched = row.version != lease.version
    await session.execute(
        _RELEASE,
        _place(lease)
        | {
            "next_look": now if touched and error is None else due_at,
            "failed": lease.failures + 1 if error else 0,
            "error": error,
        },
    )


async def forget(session: AsyncSession, lease: Lease) -> bool:
    """The object does not exist any more; False, and nothing happens, when it was marked dirty meanwhile."""
    ours = (work.c.fence == lease.fence) & (work.c.version == lease.version)
    result = await session.execute(delete(work).where(_OBJECT, ours).returning(work.c.key), _place(lease))
    return result.first() is not None


async def next_due(session: AsyncSession, kinds: Sequence[str]) -> datetime | None:
    """When the next object that nobody works on is due."""
    return (
        await session.execute(
            select(work.c.due_at)
            .where(work.c.kind.in_(kinds), work.c.lease_until.is_(None))
            .order_by(work.c.due_at)
            .limit(1)
        )
    ).scalar_one_or_none()


def _live_trace(traceparent: str | None, since: datetime | None, now: datetime) -> str | None:
    return traceparent if since is not None and now - since < telemetry.LASTS else None


def _place(lease: Lease) -> dict[str, object]:
    return {"of_kind": lease.kind, "of_key": lease.key}
