"""`slipway-<service> check`: a look at a service's own database, files and outside, which changes nothing."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import outbox
from slipway_chassis.findings import BoundQueue, Finding, Report, error, skew, warning
from slipway_chassis.measuring import OVERDUE_AFTER
from slipway_chassis.runner import App
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.tables import outbox as outbox_table
from slipway_chassis.tables import work
from slipway_chassis.topology import BusNames, queues_of

OUTBOX_WAITS = timedelta(minutes=1)
FAILURES_IN_A_ROW = 5
SHOWN = 10
ENDS_SOON = timedelta(days=30)
ENDS_NOW = timedelta(days=7)


async def examine(app: App) -> Report:
    """Everything that a service can say of itself without being asked over the network."""
    service, names = app.service, BusNames(app.settings.bus_namespace)
    messages: int | None = None
    age: float | None = None
    try:
        async with service.database.reading() as session:
            messages, age = await _outbox(session, service)
            findings = [*await _clocks(session, service), *await _work(session, service)]
    except (SQLAlchemyError, OSError) as away:
        remedy = "Is it running, is the URL right, were the migrations applied (`migrate`)?"
        cause = away.__cause__ or away
        text = next(iter(str(cause).splitlines()), type(cause).__name__)
        findings = [error("DatabaseAway", service.source, f"Its database cannot be read: {text}", remedy)]
    else:
        for check in app.checks:
            findings.extend(await check())
    if age is not None and age > OUTBOX_WAITS.total_seconds():
        remedy = "Does the service run and reach the broker? Its log says why a message is not published"
        findings.append(
            error("OutboxLags", service.source, f"{messages} messages wait, the oldest for {age:.0f} s", remedy)
        )
    plans = queues_of(names, service.name, service.region, service.consumes)
    return Report(
        source=service.source,
        looked_at=service.clock.now(),
        queues=tuple(BoundQueue(name=plan.name, keys=plan.keys) for plan in plans),
        dead_letter_queue=names.dead_letter_queue(service.name, service.region),
        outbox_messages=messages,
        outbox_age=age,
        findings=(*findings, *certificates(service.source, app.settings, service.clock.now())),
    )


async def _outbox(session: AsyncSession, service: Service) -> tuple[int, float]:
    count = (await session.execute(select(func.count()).select_from(outbox_table))).scalar_one()
    oldest = await outbox.oldest(session)
    return count, max((service.clock.now() - oldest).total_seconds(), 0.0) if oldest else 0.0


async def _clocks(session: AsyncSession, service: Service) -> list[Finding]:
    if service.database.is_sqlite:
        return []
    theirs: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    seconds = (service.clock.now() - theirs).total_seconds()
    return skew("DatabaseClockSkew", service.source, "its database's", seconds)


async def _work(session: AsyncSession, service: Service) -> list[Finding]:
    now = service.clock.now()
    findings: list[Finding] = []
    overdue = select(func.count(), func.min(work.c.due_at)).where(
        work.c.kind.in_(service.kinds),
        work.c.due_at < now - OVERDUE_AFTER,
        work.c.lease_until.is_(None) | (work.c.lease_until < now),
    )
    count, since = (await session.execute(overdue)).one()
    if count:
        late = (now - since).total_seconds()
        remedy = "Does the service run? If it does and is busy, give it more workers or another replica"
        message = f"{count} objects are due, one for {late:.0f} s, and nobody is at them"
        findings.append(error("WorkOverdue", service.source, message, remedy))
    failing = select(work).where(work.c.kind.in_(service.kinds), work.c.failures >= FAILURES_IN_A_ROW)
    for row in (await session.execute(failing.order_by(work.c.failures.desc()).limit(SHOWN))).mappings():
        message = f"It failed {row['failures']} times in a row, last: {row['last_error']}"
        remedy = "This is a mistake in Slipway or in its database: look for the object in the log and report it"
        findings.append(error("WorkFails", f"{service.source} {row['kind']} {row['key']}", message, remedy))
    return findings


def certificates(source: str, settings: ServiceSettings, now: datetime) -> list[Finding]:
    """The certificate files that the settings name: those that cannot be read, and those that end soon."""
    findings: list[Finding] = []
    for name in type(settings).model_fields:
        path = getattr(settings, name)
        if not isinstance(path, Path) or not name.endswith(("cert_file", "ca_file")):
            continue
        try:
            for each in x509.load_pem_x509_certificates(path.read_bytes()):
                findings += ending(f"{source} {name}", each.not_valid_after_utc, now)
        except (OSError, ValueError) as wrong:
            remedy = "Correct the setting or the file"
            findings.append(error("CertificateUnreadable", f"{source} {name}", f"{path}: {wrong}", remedy))
    return findings


def ending(subject: str, ends: datetime, now: datetime) -> Sequence[Finding]:
    """What to say of a certificate that ends then."""
    if ends - now > ENDS_SOON:
        return ()
    say = error if ends - now < ENDS_NOW else warning
    days = (ends - now).total_seconds() / 86400
    when = f"ends in {days:.0f} days" if days > 0 else f"ended {-days:.0f} days ago"
    message = f"The certificate {when}, at {ends:%Y-%m-%d %H:%M}"
    return (say("CertificateEnds", subject, message, "Issue a new one, replace the file, restart the service"),)
