"""Many objects reconciled at once, claimed by one task: a wake costs one question to the database, not one a worker."""

import asyncio
import contextlib
from datetime import timedelta

import structlog

from slipway_chassis.database import is_away, is_conflict
from slipway_chassis.service import Service
from slipway_chassis.work import Lease

log = structlog.get_logger()

POLL = timedelta(seconds=1)
"""Due times, other replicas' marks and leases that ran out are looked for so often."""
BEING_CLAIMED = timedelta(milliseconds=20)
"""What is due and was not claimed is being claimed by another replica just now: it is looked at again after so long."""


async def work(service: Service, most: int, stopping: asyncio.Event) -> None:
    """Reconcile what is due, up to `most` objects at once, until stopping; then end what was begun.

    Raises the ExceptionGroup of a mistake in the queue itself; mistakes of reconcilers are counted and retried.
    """
    busy: set[asyncio.Task[None]] = set()

    def ended(task: asyncio.Task[None]) -> None:
        busy.discard(task)
        service.work_wake.set()

    async with asyncio.TaskGroup() as group:
        while not stopping.is_set():
            service.work_wake.clear()
            leases, wait = await _due(service, most - len(busy))
            for lease in leases:
                task = group.create_task(_take(service, lease))
                busy.add(task)
                task.add_done_callback(ended)
            await woken(service.work_wake, wait)


async def woken(wake: asyncio.Event, at_most: timedelta) -> None:
    """Wait for the event, or for so long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), timeout=at_most.total_seconds())


async def _due(service: Service, free: int) -> tuple[list[Lease], timedelta]:
    """What is ours to do now, and how long until the next look."""
    if free <= 0:
        return [], POLL
    leases: list[Lease] = []
    try:
        leases = await service.claim(free)
        due_in = await service.next_due() if len(leases) < free else None
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("Database away, workers wait", error=repr(error))
        return leases, POLL  # what is claimed is ours to do, though nobody can say what comes next
    if due_in is None:
        return leases, POLL
    return leases, min(due_in, POLL) if due_in > timedelta(0) else BEING_CLAIMED


async def _take(service: Service, lease: Lease) -> None:
    try:
        await service.take(lease)
    except Exception as error:
        if not is_away(error) and not is_conflict(error):
            raise
        log.warning("Not released, the object waits for its lease's end", kind=lease.kind, error=repr(error))
