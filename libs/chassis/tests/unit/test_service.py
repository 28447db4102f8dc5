"""The parts of the chassis together, stepped by hand on an SQLite file."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from slipway_chassis import facts, outbox, tables, work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import GiveUp, LeaseLost, RetryLater
from slipway_chassis.inbox import Disposition
from slipway_chassis.outbox import Outgoing
from slipway_chassis.service import Service
from slipway_chassis.testing import MemoryBus
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.healer import ClusterHold
from slipway_contracts.resync import ClusterFactsAnnounced
from slipway_contracts.testing import a_cluster_spec


async def say(api: Service, spec: ClusterSpec) -> Outgoing:
    """Announce a spec and return the message."""
    async with api.transaction() as session:
        await api.announce(session, ClusterSpecChanged, f"clusters/{spec.cluster_id}", spec, region=spec.region)
        return (await outbox.pending(session, 100))[-1]


async def drain(service: Service) -> None:
    while await service.work_once():
        pass


async def test_an_event_reaches_the_reconciler_and_its_answer_comes_back(builder: Any) -> None:
    api, _ = await builder("api", region="global")
    healer, reconciler = await builder("healer")
    bus = MemoryBus([api, healer])
    await say(api, a_cluster_spec("c1"))
    await bus.settle()
    assert reconciler.seen == [("c1", 1)]
    async with api.database.reading() as session:
        (hold,) = await facts.facts_of(session, ClusterHold)
    assert hold.source == "healer/tokyo"
    assert hold.body.cluster_id == "c1"


async def test_a_duplicate_and_a_stale_event_change_nothing(builder: Any, clock: SteppingClock) -> None:
    api, _ = await builder("api", region="global")
    healer, reconciler = await builder("healer")
    old = await say(api, a_cluster_spec("c1", 1))
    clock.step(timedelta(seconds=1))
    new = await say(api, a_cluster_spec("c1", 2))
    first = await healer.receive(new.document)
    await drain(healer)
    second = await healer.receive(new.document)
    third = await healer.receive(old.document)
    await drain(healer)
    assert [first.disposition, second.disposition, third.disposition] == [
        Disposition.HANDLED,
        Disposition.STALE,
        Disposition.STALE,
    ]
    assert reconciler.seen == [("c1", 2)]


@pytest.mark.parametrize(
    ("message", "disposition", "cause"),
    [
        (b"not json", Disposition.INVALID, "not JSON"),
        (b"[]", Disposition.INVALID, "not a JSON object"),
        (b"{}", Disposition.INVALID, "type"),
        (b'{"type": "slipway.moon.landed.v1"}', Disposition.UNKNOWN, "moon"),
        (b'{"type": "slipway.cluster.spec_changed.v1"}', Disposition.INVALID, "id"),
    ],
)
async def test_a_message_that_cannot_be_handled_is_told_apart(
    builder: Any, message: bytes, disposition: Disposition, cause: str
) -> None:
    healer, _ = await builder("healer")
    receipt = await healer.receive(message)
    assert receipt.disposition is disposition
    assert cause in receipt.cause


async def test_a_source_that_does_not_own_the_event_is_refused(builder: Any) -> None:
    api, _ = await builder("api", region="global")
    healer, _ = await builder("healer")
    message = await say(api, a_cluster_spec("c1"))
    receipt = await healer.receive(message.document.replace(b'"api/global"', b'"monitor/tokyo"'))
    assert receipt.disposition is Disposition.INVALID
    assert "does not own" in receipt.cause


async def test_what_was_said_last_is_not_said_again(builder: Any) -> None:
    api, _ = await builder("api", region="global")
    async with api.transaction() as session:
        assert await api.announce(session, ClusterSpecChanged, "clusters/c1", a_cluster_spec("c1"), region="tokyo")
        assert not await api.announce(session, ClusterSpecChanged, "clusters/c1", a_cluster_spec("c1"), region="tokyo")
        assert len(await outbox.pending(session, 10)) == 1


async def test_sequences_grow_even_when_the_clock_stands_still(builder: Any) -> None:
    api, _ = await builder("api", region="global")
    await say(api, a_cluster_spec("c1", 1))
    await say(api, a_cluster_spec("c1", 2))
    async with api.database.reading() as session:
        first, second = [each.document for each in await outbox.pending(session, 10)]
    read = ClusterSpecChanged.model_validate_json
    assert read(second).order == read(first).order + 1


async def test_a_lost_event_comes_back_with_the_resync(builder: Any) -> None:
    api, _ = await builder("api", region="global")
    await api.start()
    await say(api, a_cluster_spec("c1"))
    async with api.transaction() as session:  # the message is lost
        await outbox.confirmed(session, [each.row_id for each in await outbox.pending(session, 10)])
    healer, reconciler = await builder("healer")
    bus = MemoryBus([api, healer])
    await healer.start()  # an empty database: it asks for everything
    await bus.settle()
    assert reconciler.seen == [("c1", 1)]
    async with healer.database.reading() as session:
        assert await facts.listed_at(session, "api/global", "c1") is not None


async def test_absence_from_a_complete_list_ends_a_fact_unless_it_is_younger(
    builder: Any, clock: SteppingClock
) -> None:
    api, _ = await builder("api", region="global")
    healer, _ = await builder("healer")
    await healer.receive((await say(api, a_cluster_spec("c1"))).document)
    clock.step(timedelta(seconds=1))
    async with api.transaction() as session:
        await api.announcer.repeat_cluster(session, "c1")
        listing = ClusterFactsAnnounced.model_validate_json((await outbox.pending(session, 10))[-1].document)
    emptied = listing.model_copy(update={"data": listing.data.model_copy(update={"facts": ()})})
    clock.step(timedelta(seconds=1))
    await healer.receive((await say(api, a_cluster_spec("c1", 2))).document)
    await healer.receive(emptied.to_json())
    async with healer.database.reading() as session:
        assert await facts.fact_of(session, ClusterSpec, "clusters/c1") is not None
    clock.step(timedelta(seconds=1))
    later = emptied.data.model_copy(update={"listed_at": f"{int(clock.now().timestamp() * 1e6):020d}"})
    await healer.receive(emptied.model_copy(update={"data": later}).to_json())
    async with healer.database.reading() as session:
        assert await facts.fact_of(session, ClusterSpec, "clusters/c1") is None
        assert await facts.fact_of(session, ClusterSpec, "clusters/c1", ended=True) is not None


async def a_list(api: Service) -> ClusterFactsAnnounced:
    """The complete list of facts about c1 that this service would say now."""
    async with api.transaction() as session:
        await api.announcer.repeat_cluster(session, "c1")
        return ClusterFactsAnnounced.model_validate_json((await outbox.pending(session, 10))[-1].document)


def without_facts(listing: ClusterFactsAnnounced) -> ClusterFactsAnnounced:
    return listing.model_copy(update={"data": listing.data.model_copy(update={"facts": ()})})


async def is_known(healer: Service) -> bool:
    async with healer.database.reading() as session:
        return await facts.fact_of(session, ClusterSpec, "clusters/c1") is not None


async def test_a_fact_that_one_list_missed_is_back_with_the_next(builder: Any, clock: SteppingClock) -> None:
    """Its transaction was not committed yet when the list was made, so the list is younger and has it not."""
    api, _ = await builder("api", region="global")
    healer, reconciler = await builder("healer")
    await healer.receive((await say(api, a_cluster_spec("c1"))).document)
    clock.step(timedelta(seconds=1))
    first = without_facts(await a_list(api))
    await healer.receive(first.to_json())
    assert not await is_known(healer)
    while await healer.work_once():
        pass
    assert reconciler.seen == []
    clock.step(timedelta(minutes=10))
    await healer.receive((await a_list(api)).to_json())
    assert await is_known(healer)
    while await healer.work_once():
        pass
    assert reconciler.seen == [("c1", 1)]
    await healer.receive(first.to_json())
    assert await is_known(healer), "a list of the past that comes once more says nothing of absence"


async def test_the_tombstone_of_an_absent_fact_is_kept_for_a_week_however_old_the_fact(
    builder: Any, clock: SteppingClock
) -> None:
    api, _ = await builder("api", region="global")
    healer, _ = await builder("healer")
    said = (await say(api, a_cluster_spec("c1"))).document
    await healer.receive(said)
    clock.step(timedelta(days=30))
    await healer.receive(without_facts(await a_list(api)).to_json())
    async with healer.transaction() as session:
        await facts.forget_endings(session, clock.now() - outbox.ENDINGS_KEPT)
    assert (await healer.receive(said)).disposition is Disposition.STALE


async def test_work_marked_dirty_meanwhile_is_due_again_at_once(builder: Any, clock: SteppingClock) -> None:
    healer, _ = await builder("healer")
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
        (lease,) = await work.claim(session, clock, "1", ["cluster"], timedelta(minutes=1), 10)
        assert not await work.claim(session, clock, "2", ["cluster"], timedelta(minutes=1), 10)
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now() + timedelta(hours=1))
        await work.release(session, lease, due_at=clock.now() + timedelta(hours=1), now=clock.now())
        assert await work.next_due(session, ["cluster"]) == clock.now()


async def test_what_is_heard_of_while_it_is_forgotten_is_looked_at_again(builder: Any, clock: SteppingClock) -> None:
    api, _ = await builder("api", region="global")
    healer, reconciler = await builder("healer")
    message = await say(api, a_cluster_spec("c1"))
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
    unhindered = reconciler.reconcile

    async def reconcile(lease: work.Lease) -> timedelta | None:
        reconciler.reconcile = unhindered
        delay: timedelta | None = await unhindered(lease)
        await healer.receive(message.document)
        return delay

    reconciler.reconcile = reconcile
    await drain(healer)
    assert reconciler.seen == [("c1", 1)]


async def test_who_lost_the_lease_commits_nothing(builder: Any, clock: SteppingClock) -> None:
    healer, _ = await builder("healer")
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
        # leases are on the database's clock, which no test steps: this one is over at once
        (lease,) = await work.claim(session, clock, "1", ["cluster"], timedelta(0), 10)
    clock.step(timedelta(minutes=2))
    async with healer.transaction() as session:
        (taken,) = await work.claim(session, clock, "2", ["cluster"], timedelta(minutes=1), 10)
        assert taken.fence == lease.fence + 1
        with pytest.raises(LeaseLost):
            await work.require(session, lease)
        await work.release(session, lease, due_at=clock.now(), now=clock.now())
        await work.require(session, taken)


@pytest.mark.parametrize(
    ("failure", "again_after"),
    [
        (RetryLater(timedelta(seconds=7), "CloudBusy", "the cloud is busy"), timedelta(seconds=7)),
        (GiveUp("NoSuchFlavor", "the flavor is gone"), timedelta(minutes=5)),
    ],
)
async def test_a_refusal_becomes_a_condition_and_a_time_to_look_again(
    builder: Any, clock: SteppingClock, failure: Any, again_after: timedelta
) -> None:
    healer, reconciler = await builder("healer")
    reconciler.fail_with = failure
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
    assert await healer.work_once()
    assert reconciler.refusals == [f"c1: {failure.reason.code}"]
    assert await healer.next_due() == again_after


async def test_a_reason_that_cannot_be_told_stops_nobody_else(builder: Any, clock: SteppingClock) -> None:
    healer, reconciler = await builder("healer")
    reconciler.fail_with = RetryLater(timedelta(seconds=7), "CloudBusy", "the cloud is busy")

    async def refused(_session: Any, _key: str, _refusal: Any) -> None:
        raise ZeroDivisionError("ours")

    reconciler.refused = refused
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
    assert await healer.work_once()
    assert await healer.next_due() < timedelta(seconds=7)
    async with healer.database.reading() as session:
        assert (await session.execute(select(tables.work.c.last_error))).scalar_one() == "ZeroDivisionError: ours"


async def test_a_mistake_is_retried_with_growing_backoff(builder: Any, clock: SteppingClock) -> None:
    healer, reconciler = await builder("healer")
    reconciler.fail_with = ZeroDivisionError("ours")
    async with healer.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", clock.now())
    waits = []
    for _ in range(6):
        assert await healer.work_once()
        waits.append(await healer.next_due())
        clock.step(waits[-1])
    assert waits[-1] > 8 * waits[0]
    assert reconciler.refusals == []
