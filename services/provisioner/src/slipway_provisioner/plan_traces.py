"""What agents do, as spans of the trace that their plan follows from.

An agent knows nothing of traces: it returns the context that came with its plan. A context of another trace is ignored,
for a machine may say anything.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from slipway_chassis import telemetry
from slipway_chassis.telemetry import SpanKind, Tracing
from slipway_contracts.agent import PlanReport, StepReport
from slipway_contracts.provisioner import StepState
from slipway_provisioner.store_plans import PlanRow, reported_steps


@contextmanager
def reporting(tracing: Tracing, row: PlanRow, report: PlanReport, now: datetime) -> Iterator[None]:
    """What follows from a report belongs to its plan's trace; each step that it says is done becomes a span."""
    parent = trace_of_report(row, report, now)
    before = reported_steps(row)
    with tracing.span("report of a plan", at=now, parent=parent, kind=SpanKind.SERVER, begins=False, node=row.node_id):
        yield
    if parent is not None and report.revision == row.revision:
        _record_steps(tracing, row, report, before, parent)


def trace_of_report(row: PlanRow, report: PlanReport, now: datetime) -> str | None:
    """The context that the report returned, if it is of the plan's own trace and that is not long ago."""
    given = report.traceparent
    if given is None or row.traced_at is None or now - row.traced_at > telemetry.LASTS:
        return None
    same = telemetry.is_traceparent(given) and telemetry.trace_of(given) == telemetry.trace_of(row.traceparent)
    return given if same else None


def _record_steps(
    tracing: Tracing, row: PlanRow, report: PlanReport, before: Mapping[str, StepReport], parent: str
) -> None:
    titles = {each["name"]: each["title"] for each in row.titles}
    began = row.handed_out_at or row.created_at
    for step in report.steps:
        known = before.get(step.name)
        if step.state is StepState.DONE:
            if known is None or known.state is not StepState.DONE:
                title = titles.get(step.name, step.name)
                tracing.record(title, parent, began, step.since, None, node=row.node_id, step=step.name)
            # steps are taken one after the other: the next one began when this one was done
            began = max(began, step.since)
