"""What a look at a service may find: the shape of `slipway-<service> check`, read by whoever asked for it."""

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """How bad it is."""

    WARNING = "warning"
    """It works, and will not for ever."""
    ERROR = "error"
    """Something does not work now."""


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Finding(_Said):
    """One thing that is not as it should be, and what to do about it."""

    severity: Severity
    code: str
    subject: str
    """What it is about: a service, a queue, a resource."""
    message: str
    remedy: str


class BoundQueue(_Said):
    """A queue that a service must have, with its bindings."""

    name: str
    keys: tuple[str, ...]


class Report(_Said):
    """One service, as its own command sees it."""

    source: str
    looked_at: datetime
    """By the clock of the service's machine."""
    queues: tuple[BoundQueue, ...]
    dead_letter_queue: str
    outbox_messages: int | None = None
    outbox_age: float | None = None
    """Seconds that the oldest unpublished message has waited."""
    findings: tuple[Finding, ...] = ()


def warning(code: str, subject: str, message: str, remedy: str) -> Finding:
    """Something that will not do for ever."""
    return Finding(severity=Severity.WARNING, code=code, subject=subject, message=message, remedy=remedy)


def error(code: str, subject: str, message: str, remedy: str) -> Finding:
    """Something that does not work now."""
    return Finding(severity=Severity.ERROR, code=code, subject=subject, message=message, remedy=remedy)


def skew(code: str, subject: str, other: str, seconds: float) -> list[Finding]:
    """What to say of a clock that is ahead of another by this much; leases and freshness bear about a second."""
    if abs(seconds) < 2:
        return []
    say = error if abs(seconds) >= 10 else warning
    where = "ahead of" if seconds > 0 else "behind"
    return [
        say(
            code,
            subject,
            f"Its clock is {abs(seconds):.1f} s {where} {other}",
            "Run a time service (chrony, systemd-timesyncd) on every machine",
        )
    ]
