"""Runs a service: migrations, bus, workers, relay, health; and stops it gracefully."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
import uvicorn
from starlette.types import ASGIApp

from slipway_chassis import crash
from slipway_chassis.bus import RabbitBus
from slipway_chassis.database import is_away
from slipway_chassis.findings import Finding
from slipway_chassis.health import build_health
from slipway_chassis.logging import configure_logging
from slipway_chassis.measuring import MEASURED_EVERY, certificate_ends, measure
from slipway_chassis.migrations import upgrade
from slipway_chassis.service import Service
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.workers import POLL, woken, work

log = structlog.get_logger()


LAST_WORDS = timedelta(seconds=3)
"""What is still in the outbox at a stop has so long to go out; the rest does so at the next start."""

Server = Callable[[], AbstractAsyncContextManager[None]]
"""Something that serves between start and stop: an agents' TLS endpoint."""


@dataclass(frozen=True)
class App:
    """A service, wired with real things and ready to run."""

    service: Service
    settings: ServiceSettings
    asgi: ASGIApp | None = None
    servers: Sequence[Server] = ()
    closing: Sequence[Callable[[], object]] = field(default=())
    """Called at the very end: executors, pools."""
    checks: Sequence[Callable[[], Awaitable[Sequence[Finding]]]] = ()
    """What this service adds to its `check`: looks at the outside that change nothing."""


class ServiceBroken(RuntimeError):
    """Something that the service cannot be without ended by itself: only a new process can help."""


async def run_service(app: App) -> None:
    """Run until SIGTERM or SIGINT, then finish what is in progress and return.

    Raises ServiceBroken, after the same graceful stop, when a worker, the relay or the consumers are gone for good.
    """
    service, settings = app.service, app.settings
    configure_logging(service.name, service.region, log_format=settings.log_format, level=settings.log_level)
    crash.arm_from_environment(dict(os.environ))
    if settings.otlp_endpoint:
        from slipway_chassis.otlp import OtlpRecorder

        service.tracing.recorder = OtlpRecorder(settings.otlp_endpoint, service.name, service.region, service.replica)
    stopping = asyncio.Event()
    broken: list[str] = []

    def on_broken(why: str) -> None:
        broken.append(why)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        if settings.migrate:
            await asyncio.to_thread(upgrade, service.name, settings.database_url)
        async with running(app, on_broken):
            await stopping.wait()
            log.info("Stopping")
    finally:
        await _close(app)
    log.info("Stopped")
    if broken:
        raise ServiceBroken(broken[0])


async def _close(app: App) -> None:
    """Each of them, whatever becomes of the others."""
    async with AsyncExitStack() as stack:
        stack.push_async_callback(asyncio.to_thread, app.service.tracing.close)
        stack.push_async_callback(app.service.database.close)
        for close in reversed(app.closing):
            stack.callback(close)


@asynccontextmanager
async def running(app: App, on_broken: Callable[[str], None] | None = None) -> AsyncIterator[RabbitBus]:
    """The service in operation; on leaving, consumers stop first, then workers, then the last messages go out.

    `on_broken` hears of a part that ended by itself.
    """
    service, settings = app.service, app.settings
    bus = RabbitBus(settings, service)
    checks = {"database": service.database.is_available, "bus": bus.is_ready}
    async with AsyncExitStack() as stack:
        causes = {"database": lambda: service.database.trouble}
        health = build_health(checks, service.registry, app.asgi, causes)
        serving = await stack.enter_async_context(_serve(health, settings))
        await service.start()
        for server in app.servers:
            await stack.enter_async_context(server())
        leaving, stopping, silent = asyncio.Event(), asyncio.Event(), asyncio.Event()
        workers = asyncio.create_task(work(service, settings.workers, stopping))
        relay = asyncio.create_task(_relay(service, bus, silent))
        measuring = asyncio.create_task(_measure(service, settings, stopping))
        connecting = asyncio.create_task(bus.start())
        watching = asyncio.create_task(bus.watch())
        for part in (workers, relay, measuring, watching, serving):
            part.add_done_callback(partial(_ended, leaving, on_broken))
        log.info("Started", replica=service.replica)
        try:
            yield bus
        finally:
            leaving.set()
            for each in (connecting, watching):
                each.cancel()
            await asyncio.wait({connecting, watching}, timeout=1)
            await bus_quiet(bus)
            stopping.set()
            service.wake()
            await _finish([workers, measuring], settings.grace)
            silent.set()
            service.wake()
            await _finish([relay], LAST_WORDS)
            await bus.stop()


def _ended(leaving: asyncio.Event, on_broken: Callable[[str], None] | None, part: asyncio.Task[None]) -> None:
    """Workers, relay, watcher and HTTP run until we stop: one that ends before takes the service with it."""
    if part.cancelled() or leaving.is_set():
        return
    why = repr(part.exception())
    log.error("A part of the service ended by itself", error=why)
    if on_broken is not None:
        on_broken(why)


async def bus_quiet(bus: RabbitBus) -> None:
    """Stop consuming; a broker that is away does not hold the stop up."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(bus.stop_consuming(), timeout=5)


async def _finish(tasks: list[asyncio.Task[None]], grace: timedelta) -> None:
    _, late = await asyncio.wait(tasks, timeout=grace.total_seconds())
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _relay(service: Service, bus: RabbitBus, silent: asyncio.Event) -> None:
    """Publish the outbox as it fills, until all is out when nothing more is to be said."""
    while True:
        last = silent.is_set()
        service.outbox_wake.clear()
        sent = 0
        try:
            sent = await service.relay_once(bus.publish)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Database away, relay waits", error=repr(error))
        if last and not sent:
            return
        if not sent:
            await woken(service.outbox_wake, POLL)


async def _measure(service: Service, settings: ServiceSettings, stopping: asyncio.Event) -> None:
    """Keep what is measured by looking current."""
    service.metrics.info.labels(service=service.name, region=service.region).set(1)
    for setting, ends in certificate_ends(settings).items():
        service.metrics.certificates.labels(setting=setting).set(ends.timestamp())
    while not stopping.is_set():
        try:
            await measure(service)
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("Database away, nothing is measured", error=repr(error))
        await woken(stopping, MEASURED_EVERY)


class _EmbeddedServer(uvicorn.Server):
    """Uvicorn without its own signal handlers: the runner decides when to stop."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield


@asynccontextmanager
async def _serve(asgi: ASGIApp, settings: ServiceSettings) -> AsyncIterator[asyncio.Task[None]]:
    listener = socket.create_server((settings.http_host, settings.http_port), reuse_port=False)
    port = listener.getsockname()[1]
    config = uvicorn.Config(asgi, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=5)
    server = _EmbeddedServer(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    log.info("HTTP listens", host=settings.http_host, port=port)
    try:
        yield task
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
