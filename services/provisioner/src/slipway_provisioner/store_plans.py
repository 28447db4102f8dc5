"""The nodes' plans at rest and how far they are. A plan may hold controllers' secrets, so it is sealed."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, LargeBinary, Text, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from slipway_chassis import telemetry
from slipway_chassis.database import UtcDateTime
from slipway_contracts.agent import Plan, PlanReport, PlanStep, StepReport
from slipway_contracts.provisioner import StepState
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.pki import CertificateProfile
from slipway_provisioner.domain.plans.model import RenderedPlan
from slipway_provisioner.store import Row

LOG_TAIL_LIMIT = 16_000
"""Characters of a failed command's output that are kept."""

FIRST_REVISION = datetime(2026, 1, 1, tzinfo=UTC)
"""Revisions are counted in seconds from here; agents name them with nine digits at most."""

REPORT_EVERY = timedelta(seconds=60)
"""An unfinished plan is reported at least so often."""


class PlanRow(Row, table=True):
    """The plan of one node, and the last report about it."""

    __tablename__ = "plans"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    revision: int
    digest: str = Field(max_length=64)
    sealed: bytes = Field(sa_type=LargeBinary)
    """The steps, JSON."""
    titles: list[dict[str, str]] = Field(sa_type=JSON)
    """Name and title of each step, readable without the master key."""
    profiles: dict[str, Any] = Field(sa_type=JSON)
    """What is signed for each certificate that the plan names."""
    created_at: datetime = Field(sa_type=UtcDateTime)
    handed_out_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    """When an agent first got it."""
    applied_revision: int = 0
    report_revision: int = 0
    report: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    """Steps as last reported (contracts' StepReport)."""
    reported_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    waited_for_others: float = 0.0
    """Seconds, up to the last report."""
    log_tail: str | None = Field(default=None, sa_type=Text)
    traceparent: str | None = Field(default=None, max_length=60)
    """The trace that this revision follows from."""
    traced_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


async def store_plan(
    session: AsyncSession, master: MasterKey, cluster_id: str, node_id: str, plan: RenderedPlan, now: datetime
) -> int:
    """Keep the node's plan; the revision grows only when its content changed. Returns the revision.

    It is the time in seconds: what is made after an old backup was restored is newer than what the backup lacks.
    """
    row = await session.get(PlanRow, node_id)
    digest, profiles = plan.digest, plan.signed
    if row is not None and row.digest == digest:
        return row.revision
    sealed = master.seal(plan.content.encode(), _place(node_id))
    titles = [{"name": step.name, "title": step.title} for step in plan.steps]
    if row is None:
        row = PlanRow(
            node_id=node_id,
            cluster_id=cluster_id,
            revision=_next_revision(0, now),
            digest=digest,
            sealed=sealed,
            titles=titles,
            profiles=profiles,
            created_at=now,
        )
        session.add(row)
    else:
        row.revision = _next_revision(row.revision, now)
        row.digest, row.sealed, row.titles, row.profiles = digest, sealed, titles, profiles
    row.traceparent, row.traced_at = telemetry.passed_on() or (None, None)
    await session.flush()
    return row.revision


async def read_plan(session: AsyncSession, master: MasterKey, node_id: str) -> Plan | None:
    """The node's plan, if it has one. Raises CannotOpen under another master key."""
    row = await session.get(PlanRow, node_id)
    if row is None:
        return None
    steps = json.loads(master.open(row.sealed, _place(node_id)))
    return Plan(
        node_id=node_id,
        revision=row.revision,
        steps=tuple(PlanStep.model_validate(step) for step in steps),
        traceparent=row.traceparent,
    )


async def overtake(session: AsyncSession, node_id: str, revision: int) -> None:
    """The node's plan gets a revision above this one; its agent applies it again."""
    row = await session.get(PlanRow, node_id, with_for_update=True)
    if row is not None and row.revision < revision:
        row.revision = revision + 1


async def mark_handed_out(session: AsyncSession, node_id: str, now: datetime) -> None:
    """An agent has the plan; the first time counts."""
    row = await session.get(PlanRow, node_id)
    if row is not None and row.handed_out_at is None:
        row.handed_out_at = now


async def revisions_of(session: AsyncSession, node_ids: Iterable[str]) -> Mapping[str, int]:
    """The revisions of those of these nodes that have a plan."""
    query = select(col(PlanRow.node_id), col(PlanRow.revision)).where(col(PlanRow.node_id).in_(list(node_ids)))
    return {row[0]: row[1] for row in await session.execute(query)}


def profiles_of(row: PlanRow) -> dict[str, CertificateProfile]:
    """What is signed for each certificate of this plan."""
    return {name: CertificateProfile.model_validate(profile) for name, profile in row.profiles.items()}


def record_report(row: PlanRow, report: PlanReport, now: datetime) -> bool:
    """Keep how far the plan is; returns whether that is news. A report about another revision is none."""
    if report.revision != row.revision:
        return False
    steps = [step.model_dump(mode="json") for step in report.steps]
    applied = report.revision if report.state is StepState.DONE else row.applied_revision
    tail = report.log_tail[-LOG_TAIL_LIMIT:] if report.log_tail else None
    waited = waited_since_report(row, now)
    news = waited > 0 or (row.report_revision, row.report, row.applied_revision) != (report.revision, steps, applied)
    row.waited_for_others += waited
    row.report_revision, row.report, row.reported_at = report.revision, steps, now
    row.applied_revision, row.log_tail = applied, tail
    return news


def waited_since_report(row: PlanRow, now: datetime) -> float:
    """Seconds since the last report, if the plan waited for other nodes then; a silent agent's wait is cut short."""
    if row.reported_at is None or not any(step.for_others for step in waiting_steps(row)):
        return 0.0
    return max(0.0, min(now - row.reported_at, 2 * REPORT_EVERY).total_seconds())


def reported_steps(row: PlanRow) -> dict[str, StepReport]:
    """The last report's steps by name, if it is about the present revision."""
    if row.report_revision != row.revision:
        return {}
    return {step["name"]: StepReport.model_validate(step) for step in row.report}


def waiting_steps(row: PlanRow) -> list[StepReport]:
    """The steps that wait, by the last report about the present revision."""
    return [step for step in reported_steps(row).values() if step.state is StepState.WAITING]


async def forget_plan(session: AsyncSession, node_id: str) -> None:
    """The node is gone, or it gets another server, on which nothing was applied yet."""
    await session.execute(delete(PlanRow).where(col(PlanRow.node_id) == node_id))


def _next_revision(last: int, now: datetime) -> int:
    return max(last + 1, int((now - FIRST_REVISION).total_seconds()))


def _place(node_id: str) -> str:
    return f"plan/{node_id}"
