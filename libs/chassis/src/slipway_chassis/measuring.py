"""What is measured by looking: the outbox, the work queue, the ends of certificates. Replicas see the same rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import outbox, tables
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.tables import work

MEASURED_EVERY = timedelta(seconds=10)
OVERDUE_AFTER = timedelta(minutes=1)
"""Due for so long, and nobody has taken it: workers are missing, or stuck."""

WORK_STATES = ("waiting", "due", "overdue", "leased", "failing")


async def measure(service: Service) -> None:
    """One look at the service's own database."""
    now, metrics = service.clock.now(), service.metrics
    async with service.database.reading() as session:
        oldest = await outbox.oldest(session)
        count = (await session.execute(select(func.count()).select_from(tables.outbox))).scalar_one()
        rows = await _work(session, service.kinds)
    metrics.outbox_age.set(max((now - oldest).total_seconds(), 0.0) if oldest else 0.0)
    metrics.outbox_messages.set(count)
    metrics.measured.set(now.timestamp())
    for kind in service.kinds:
        states, lag = _states([row for row in rows if row[0] == kind], now)
        for state in WORK_STATES:
            metrics.work_rows.labels(kind=kind, state=state).set(states[state])
        metrics.work_lag.labels(kind=kind).set(lag.total_seconds())


Row = tuple[str, datetime, datetime | None, int]
"""Kind, due_at, lease_until, failures."""


async def _work(session: AsyncSession, kinds: Sequence[str]) -> list[Row]:
    query = select(work.c.kind, work.c.due_at, work.c.lease_until, work.c.failures).where(work.c.kind.in_(kinds))
    return [(kind, due_at, until, failures) for kind, due_at, until, failures in await session.execute(query)]


def _states(rows: Sequence[Row], now: datetime) -> tuple[Counter[str], timedelta]:
    """How many objects are in each state (failing ones in two), and how long the one that waits longest is due."""
    states: Counter[str] = Counter()
    lag = timedelta(0)
    for _, due_at, lease_until, failures in rows:
        late = now - due_at
        states["failing"] += failures > 0
        if lease_until is not None and lease_until > now:
            states["leased"] += 1
        elif late < timedelta(0):
            states["waiting"] += 1
        else:
            states["overdue" if late > OVERDUE_AFTER else "due"] += 1
            lag = max(lag, late)
    return states, lag


def certificate_ends(settings: ServiceSettings) -> Mapping[str, datetime]:
    """When each certificate ends that a setting names; what cannot be read is left to whoever needs it."""
    ends = {}
    for name in type(settings).model_fields:
        path = getattr(settings, name)
        if isinstance(path, Path) and name.endswith(("cert_file", "ca_file")):
            try:
                ends[name] = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
            except (OSError, ValueError):
                continue
    return ends
