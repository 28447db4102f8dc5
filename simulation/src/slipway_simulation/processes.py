"""Services as processes of the simulated world: they can be killed between any two lines, and start again.

What a process has in memory dies with it, its database stays. Objects are worked on concurrently, as by the runner's
workers: while one waits for the cloud, others go on.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from slipway_chassis import crash
from slipway_chassis.inbox import Receipt
from slipway_chassis.service import Publish, Service
from slipway_simulation.ground import Ground
from slipway_simulation.journal import WHO
from slipway_simulation.storage import Store

T = TypeVar("T")

CURRENT: ContextVar["ServiceProcess | None"] = ContextVar("CURRENT", default=None)
"""The process that the present task belongs to."""

POLL = 5.0
"""Seconds until a worker looks for work whose lease has expired."""

WORK_AFTER = (0.0, 0.1)
"""Seconds until a worker takes up an object that is due."""

RELAY_AFTER = (0.0, 0.05)
"""Seconds between a commit and the publishing of its messages."""


class Unreachable(Exception):
    """The process is down, or died before it answered."""


@dataclass
class Running:
    """What a process has in memory: its service, and how others talk to it."""

    service: Service
    interfaces: dict[str, Any]


class Bus(Protocol):
    """What a process needs of the bus."""

    async def publish(self, batch: Any) -> list[int]:
        """As slipway_chassis.service.Publish."""
        ...

    def connected(self, process: "ServiceProcess") -> None:
        """The process consumes again."""
        ...


Build = Callable[["ServiceProcess"], Running]


class ServiceProcess:
    """One service. `build` makes everything that is in its memory anew."""

    def __init__(self, name: str, build: Build, store: Store, bus: Bus, ground: Ground) -> None:
        self.name = name
        self.store = store
        self.up = False
        self.starts = 0
        self.slots = 8
        self._build = build
        self._bus = bus
        self._journal = ground.journal
        self._random = ground.chance(name)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._working = 0
        self._idle = False
        """A worker is about to look for work."""
        self._relaying = False
        self._running: Running | None = None

    @property
    def running(self) -> Running:
        """What is in its memory now. Raises Unreachable when it is down."""
        if self._running is None:
            raise Unreachable(f"{self.name} is down")
        return self._running

    @property
    def service(self) -> Service:
        """The service as it is in memory now."""
        return self.running.service

    # -- life and death

    def start(self) -> None:
        """A new process on the same database."""
        if self.up:
            return
        self.up = True
        self.starts += 1
        self._working, self._idle, self._relaying = 0, False, False
        self._running = self._build(self)
        self._journal.say(f"{self.name} starts", time=self.starts)
        self.spawn(self._main())

    def kill(self, why: str, back_after: float) -> None:
        """At once: every task of the process ends where it is. It starts again after so many seconds."""
        if not self.up:
            return
        self._journal.say(f"{self.name} is killed", at=why, back_after=round(back_after, 1))
        self.up, self._running = False, None
        doomed, self._tasks = self._tasks, set()
        for task in doomed:
            if task is not asyncio.current_task():
                task.cancel()
        asyncio.get_running_loop().call_later(back_after, self.start)

    def spawn(self, work: Coroutine[Any, Any, T], *, answers: bool = False) -> asyncio.Task[T]:
        """A task of this process; it dies with it. A mistake in it is one of the service, unless somebody asked."""
        context = copy_context()
        context.run(CURRENT.set, self)
        context.run(WHO.set, self.name)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard if answers else self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, crash.Crashed):
            self._journal.violated(f"{self.name} made a mistake: {error!r}")

    # -- what others ask of it

    async def call(self, ask: Callable[[Running], Awaitable[T]]) -> T:
        """A request from outside. Raises Unreachable when the process is down, or dies before it has answered."""
        running = self.running

        async def answer() -> T:
            return await ask(running)

        task = self.spawn(answer(), answers=True)
        await asyncio.wait([task])
        if task.cancelled() or isinstance(task.exception(), crash.Crashed):
            raise Unreachable(f"{self.name} died")
        return task.result()

    async def receive(self, document: bytes) -> tuple[Receipt, bool]:
        """One message from the bus, and whether it changed a row. Raises Unreachable when it is not acknowledged."""

        async def handle(running: Running) -> tuple[Receipt, bool]:
            written = self.store.rows_written
            receipt = await running.service.receive(document)
            return receipt, self.store.rows_written != written

        return await self.call(handle)

    # -- what it does by itself

    async def _main(self) -> None:
        await self.service.start()
        self._bus.connected(self)
        while True:
            if self._outbox_waits() and not self._relaying:
                self._relaying = True
                self.spawn(self._relay())
            due_in = self._due_in()
            if due_in <= 0 and not self._idle and self._working < self.slots:
                self._begin_work()
            timed_out = await self._woken(POLL if due_in <= 0 else min(due_in, POLL))
            if timed_out and not self._idle and self._working < self.slots:
                self._begin_work()

    def _begin_work(self) -> None:
        self._working += 1
        self._idle = True
        self.spawn(self._work())

    async def _work(self) -> None:
        await asyncio.sleep(self._random.uniform(*WORK_AFTER))  # meanwhile more may come that is done in one go
        self._idle = False
        asyncio.get_running_loop().call_soon(self.service.wake)  # once this one waits, another may begin
        try:
            await self.service.work_once()
        finally:
            self._working -= 1
        self.service.wake()

    async def _relay(self) -> None:
        """Publishes until the outbox is empty; a broker that confirms nothing is asked again a second later."""
        publish: Publish = self._bus.publish
        while self._outbox_waits():
            await asyncio.sleep(self._random.uniform(*RELAY_AFTER))
            if not await self.service.relay_once(publish, self._random.choice((1, 3, 200))):
                await asyncio.sleep(1.0)
        self._relaying = False

    async def _woken(self, patience: float) -> bool:
        """True after the time has passed, False when somebody woke the service before."""
        wake = self.service.work_wake
        timed_out = False

        def ring() -> None:
            nonlocal timed_out
            timed_out = True
            wake.set()

        timer = asyncio.get_running_loop().call_later(patience, ring)
        await wake.wait()
        timer.cancel()
        wake.clear()
        return timed_out

    def _outbox_waits(self) -> bool:
        return bool(self.store.ask("SELECT 1 FROM outbox LIMIT 1"))

    def _due_in(self) -> float:
        [(due,)] = self.store.ask("SELECT min(due_at) FROM work WHERE lease_until IS NULL")
        if due is None:
            return POLL
        due_at = datetime.fromisoformat(due).replace(tzinfo=UTC)
        return (due_at - self.service.clock.now()).total_seconds()
