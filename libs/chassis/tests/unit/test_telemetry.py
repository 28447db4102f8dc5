"""A trace goes from a request through events, work and effects, and ends; what nothing follows from leaves no span."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import MetaData

from slipway_chassis import telemetry, work
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.service import Service
from slipway_chassis.telemetry import SpanKind
from slipway_chassis.testing import MemoryBus, a_database
from slipway_chassis.work import Lease
from slipway_contracts.envelope import parse_event
from slipway_contracts.healer import ClusterHold, ClusterHoldChanged, Hold

USERS = f"00-{'a' * 32}-{'b' * 16}-01"


@dataclass
class Kept:
    """A span that was sent."""

    name: str
    parent: str | None
    traceparent: str
    attributes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None


class Recorder:
    """Keeps spans in memory."""

    def __init__(self) -> None:
        self.sent: list[Kept] = []
        self.begun = 0

    def start(self, name: str, kind: SpanKind, parent: str | None, at: datetime | None = None) -> "Recording":
        self.begun += 1
        trace = telemetry.trace_of(parent) or f"{self.begun:032x}"
        return Recording(self, Kept(name, parent, f"00-{trace}-{self.begun:016x}-01"))

    def close(self) -> None:
        """Nothing is on its way."""

    def names(self) -> list[str]:
        return [span.name for span in self.sent]


class Recording:
    """See telemetry.Recording."""

    def __init__(self, recorder: Recorder, span: Kept) -> None:
        self._recorder, self._span = recorder, span
        self.traceparent = span.traceparent

    def describe(self, name: str | None, attributes: dict[str, str | float]) -> None:
        self._span.name = name or self._span.name
        self._span.attributes |= attributes

    def stop(self, error: str | None, at: datetime | None = None) -> None:
        self._span.error = error

    def send(self) -> None:
        self._recorder.sent.append(self._span)


class Holder:
    """Says that nothing holds the cluster, after it has asked the cloud."""

    kind = "cluster"

    def __init__(self, calls: ProviderCalls) -> None:
        self.service: Service
        self.calls = calls
        self.leases: list[Lease] = []
        self.says = True
        self.call = "GET compute"

    async def reconcile(self, lease: Lease) -> timedelta | None:
        self.leases.append(lease)
        with self.calls.made("openstack", self.call):
            pass
        if self.says:
            body = ClusterHold(cluster_id=lease.key, hold=Hold.NONE, since=self.service.clock.now())
            async with self.service.transaction() as session:
                await self.service.announce(session, ClusterHoldChanged, f"clusters/{lease.key}/hold", body)
        return timedelta(minutes=1)

    async def refused(self, session: Any, key: str, refusal: RetryLater | GiveUp) -> None:
        """Nothing is refused."""


@dataclass
class Stage:
    """One service on a stepping clock, with its spans."""

    service: Service
    holder: Holder
    clock: SteppingClock
    recorder: Recorder

    async def asked(self, parent: str | None) -> None:
        """A request that makes the cluster dirty."""
        now = self.clock.now()
        with self.service.tracing.span("request", at=now, parent=parent):
            async with self.service.transaction() as session:
                await work.mark_dirty(session, "cluster", "c1", now)

    async def said(self) -> list[str | None]:
        bus = MemoryBus([])
        await self.service.relay_once(bus.publish)
        return [parse_event(each.document).traceparent for each in bus.published]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = SteppingClock()
    database = await a_database(tmp_path)
    holder = Holder(ProviderCalls())
    service = Service(
        name="healer",
        region="tokyo",
        database=database,
        clock=clock,
        metadata=MetaData(),
        routes={},
        reconcilers=[holder],
    )
    holder.service = service
    recorder = Recorder()
    service.tracing.recorder = recorder
    yield Stage(service, holder, clock, recorder)
    await database.close()


async def test_what_is_said_for_a_request_is_part_of_its_trace(stage: Stage) -> None:
    await stage.asked(USERS)
    assert await stage.service.work_once()
    assert [telemetry.trace_of(each) for each in await stage.said()] == ["a" * 32]
    request, look = stage.recorder.sent[0], stage.recorder.sent[-1]
    assert (request.parent, look.parent) == (USERS, request.traceparent)
    assert stage.recorder.names() == ["request", "openstack GET compute", "reconcile cluster"]


async def test_without_a_recorder_the_callers_context_is_handed_on(stage: Stage) -> None:
    stage.service.tracing.recorder = None
    await stage.asked(USERS)
    assert await stage.service.work_once()
    assert await stage.said() == [USERS]
    await stage.asked(None)
    assert stage.recorder.begun == 0


async def test_a_look_from_which_nothing_follows_leaves_no_span(stage: Stage) -> None:
    stage.holder.says = False
    await stage.asked(USERS)
    assert await stage.service.work_once()
    assert stage.recorder.names() == ["request"]


async def test_a_call_that_changes_the_outside_is_kept_with_its_look(stage: Stage) -> None:
    stage.holder.says, stage.holder.call = False, "POST compute"
    await stage.asked(USERS)
    assert await stage.service.work_once()
    assert stage.recorder.names() == ["request", "openstack POST compute", "reconcile cluster"]


async def test_a_trace_ends_after_an_hour(stage: Stage) -> None:
    await stage.asked(USERS)
    await stage.service.work_once()
    stage.clock.step(timedelta(minutes=59))
    await stage.service.work_once()
    assert telemetry.trace_of(stage.holder.leases[-1].traceparent) == "a" * 32
    await stage.asked(USERS)
    stage.clock.step(timedelta(minutes=2))
    await stage.service.work_once()
    assert stage.holder.leases[-1].traceparent is None


async def test_a_change_that_nobody_asked_for_begins_a_trace_of_its_own(stage: Stage) -> None:
    async with stage.service.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", stage.clock.now())
    await stage.service.work_once()
    (look,) = [span for span in stage.recorder.sent if span.name == "reconcile cluster"]
    assert look.parent is None
    assert await stage.said() == [look.traceparent]


async def test_a_mark_outside_of_any_trace_keeps_what_the_object_follows(stage: Stage) -> None:
    await stage.asked(USERS)
    await stage.asked(None)
    await stage.service.work_once()
    assert telemetry.trace_of(stage.holder.leases[-1].traceparent) == "a" * 32


async def test_a_shared_object_follows_nobody(stage: Stage) -> None:
    with stage.service.tracing.span("request", at=stage.clock.now(), parent=USERS):
        async with stage.service.transaction() as session:
            await work.mark_dirty(session, "cluster", "c1", stage.clock.now(), shared=True)
    await stage.service.work_once()
    assert stage.holder.leases[-1].traceparent is None


async def test_a_mistake_is_a_span_with_an_error(stage: Stage) -> None:
    async def fail(lease: Lease) -> timedelta | None:
        raise ValueError("a mistake with a secret in it")

    stage.holder.reconcile = fail  # type: ignore[method-assign]
    await stage.asked(USERS)
    await stage.service.work_once()
    assert [(span.name, span.error) for span in stage.recorder.sent if span.error] == [
        ("reconcile cluster", "ValueError")
    ]


@pytest.mark.parametrize(
    ("failure", "outcome"),
    [
        (None, "ok"),
        (RetryLater(timedelta(0), "CloudBusy", "Busy"), "retry"),
        (GiveUp("CloudRefuses", "No"), "give_up"),
        (OSError("gone"), "error"),
    ],
    ids=["ok", "to be tried again", "final", "anything else"],
)
def test_calls_are_counted_by_what_became_of_them(failure: Exception | None, outcome: str) -> None:
    registry = CollectorRegistry()
    calls = ProviderCalls(registry)
    with contextlib.suppress(RetryLater, GiveUp, OSError), calls.made("openstack", "POST compute"):
        if failure is not None:
            raise failure
    labels = {"provider": "openstack", "call": "POST compute"}
    assert registry.get_sample_value("slipway_provider_calls_total", labels | {"outcome": outcome}) == 1
    assert registry.get_sample_value("slipway_provider_call_seconds_count", labels) == 1
