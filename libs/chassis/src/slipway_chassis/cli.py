"""The command of a service: `slipway-healer run` (the default), `slipway-healer migrate`, `slipway-healer check`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from pydantic import ValidationError

from slipway_chassis.checkup import examine
from slipway_chassis.logging import configure_logging
from slipway_chassis.migrations import upgrade
from slipway_chassis.runner import App, ServiceBroken, run_service
from slipway_chassis.settings import ServiceSettings, load_settings

S = TypeVar("S", bound=ServiceSettings)


def main(
    name: str, settings_class: type[S], build_app: Callable[[S], App], arguments: Sequence[str] | None = None
) -> int:
    """Parse the command line, run the service; returns the exit code.

    1: it cannot go on, or `check` found something; 2: the settings are wrong. `check` prints a Report as JSON.
    """
    parser = argparse.ArgumentParser(prog=f"slipway-{name.replace('_', '-')}")
    parser.add_argument("action", nargs="?", choices=("run", "migrate", "check"), default="run")
    chosen = parser.parse_args(arguments)
    try:
        settings = load_settings(settings_class, os.environ)
        if chosen.action == "migrate":
            upgrade(name, settings.database_url)
            return 0
        if chosen.action == "check":
            return asyncio.run(_check(settings, build_app))
        return asyncio.run(_run(settings, build_app))
    except (ValidationError, ValueError, LookupError) as error:
        sys.stderr.write(f"slipway-{name}: {error}\n")
        return 2


async def _check(settings: S, build_app: Callable[[S], App]) -> int:
    app = build_app(settings)
    configure_logging(app.service.name, app.service.region, log_format="console", level="WARNING")
    try:
        report = await examine(app)
    finally:
        for close in app.closing:
            close()
        await app.service.database.close()
    sys.stdout.write(report.model_dump_json(indent=1) + "\n")
    return 1 if report.findings else 0


async def _run(settings: S, build_app: Callable[[S], App]) -> int:
    code = 0
    try:
        await run_service(build_app(settings))
    except ServiceBroken as broken:
        sys.stderr.write(f"slipway: cannot go on, start me again: {broken}\n")
        code = 1
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left and (await asyncio.wait(left, timeout=2))[1]:
        # aio-pika's connecting to a broker that never answers swallows its cancellation; the work is done and stored
        sys.stderr.flush()
        os._exit(code)
    return code
