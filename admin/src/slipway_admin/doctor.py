"""What `slipway-admin doctor` does: asks every service's own command, the broker and /readyz, and says what differs."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from aio_pika.abc import AbstractConnection
from pydantic import ValidationError

from slipway_admin.broker import Management, connected, queue_state
from slipway_admin.configuration import Configuration, ServiceAccess
from slipway_admin.errors import CommandFailed, Exit
from slipway_chassis.findings import Finding, Report, error, skew, warning
from slipway_chassis.topology import BusNames

LONG_QUEUE = 1000
ANSWERS_WITHIN = 10.0
CHECKS_WITHIN = 300.0


@dataclass
class Diagnosis:
    """What was found, and what could not be looked at."""

    findings: list[Finding] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Sentences; each says what to configure to see more."""
    reports: list[Report] = field(default_factory=list)


async def examine(configuration: Configuration) -> Diagnosis:
    """Look at everything that is configured. CommandFailed when there is nothing to look at, or no broker."""
    if not configuration.services:
        raise CommandFailed(Exit.CANNOT, "The configuration names no services: see admin/README.md for an example.")
    diagnosis = Diagnosis()
    async with connected(configuration) as connection:
        for source, access in configuration.services.items():
            await _readiness(diagnosis, source, access)
            await _own_check(diagnosis, source, access)
        for report in diagnosis.reports:
            await _queues(diagnosis, connection, report)
    await _management(diagnosis, configuration)
    return diagnosis


async def _readiness(diagnosis: Diagnosis, source: str, access: ServiceAccess) -> None:
    if access.url is None:
        diagnosis.unseen.append(f"{source}: whether it is ready (give its url)")
        return
    try:
        async with httpx.AsyncClient(timeout=ANSWERS_WITHIN, trust_env=False) as client:
            asked_at = datetime.now(UTC)
            answer = await client.get(f"{access.url.rstrip('/')}/readyz")
    except httpx.HTTPError as away:
        message = f"{access.url} does not answer: {away or type(away).__name__}"
        diagnosis.findings.append(error("ServiceAway", source, message, "Start it; its log says why it ended"))
        return
    diagnosis.findings += clock_findings("ServiceClockSkew", source, answer.headers.get("date"), asked_at)
    if answer.status_code != httpx.codes.OK:
        message = f"It says that it is not ready: {answer.text[:300]}"
        remedy = "What is false there must come back: its database, the broker, its consumers"
        diagnosis.findings.append(error("ServiceNotReady", source, message, remedy))


def clock_findings(code: str, subject: str, said: str | None, asked_at: datetime) -> list[Finding]:
    """What an HTTP Date says of the clock there; it has whole seconds, and the answer took its time."""
    if said is None:
        return []
    took = (datetime.now(UTC) - asked_at).total_seconds()
    ahead = (parsedate_to_datetime(said) - asked_at).total_seconds()
    slack = 1.0 + took
    beyond = ahead - slack if ahead > slack else min(ahead + slack, 0.0)
    return skew(code, subject, "this machine's", beyond)


async def _own_check(diagnosis: Diagnosis, source: str, access: ServiceAccess) -> None:
    if not access.check:
        diagnosis.unseen.append(f"{source}: its database, work, certificates and queues (give its check command)")
        return
    try:
        began = time.monotonic()
        output, said, code = await run(access.check, access.environment)
        report = Report.model_validate_json(output)
    except (OSError, TimeoutError) as failed:
        diagnosis.findings.append(_unchecked(source, f"{access.check[0]}: {failed or 'it does not end'}"))
        return
    except ValidationError:
        last = said.strip().splitlines()[-1:] or ["it printed no report"]
        diagnosis.findings.append(_unchecked(source, f"its check ended with exit code {code}: {last[0]}"))
        return
    if report.source != source:
        diagnosis.findings.append(_unchecked(source, f"its check is that of {report.source}"))
        return
    seconds = (report.looked_at - datetime.now(UTC)).total_seconds()
    slack = time.monotonic() - began
    diagnosis.findings += skew("ServiceClockSkew", source, "this machine's", seconds if seconds > 0 else
                               min(seconds + slack, 0.0))  # fmt: skip
    diagnosis.findings += report.findings
    diagnosis.reports.append(report)


def _unchecked(source: str, why: str) -> Finding:
    remedy = "Correct the command in the configuration, or what it complains of"
    return error("ServiceUnchecked", source, f"It could not be asked: {why}", remedy)


async def run(command: Sequence[str], environment: dict[str, str]) -> tuple[str, str, int]:
    """Run it to its end; its standard output, standard error and exit code. TimeoutError after five minutes."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, said = await asyncio.wait_for(process.communicate(), CHECKS_WITHIN)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return output.decode(errors="replace"), said.decode(errors="replace"), process.returncode or 0


async def _queues(diagnosis: Diagnosis, connection: AbstractConnection, report: Report) -> None:
    for queue in report.queues:
        state = await queue_state(connection, queue.name)
        if state is None:
            message = "The queue does not exist, so nothing said for it is kept"
            remedy = f"Start {report.source}, which declares it; then `slipway-admin resync ask`"
            diagnosis.findings.append(error("QueueMissing", queue.name, message, remedy))
            continue
        if not state.consumers:
            message = f"Nobody reads it; {state.messages} messages wait"
            remedy = f"Start {report.source}; if it runs and is ready, restart it"
            diagnosis.findings.append(error("NoConsumer", queue.name, message, remedy))
        elif state.messages >= LONG_QUEUE:
            message = f"{state.messages} messages wait"
            remedy = f"If it does not shrink, give {report.source} another replica or a faster database"
            diagnosis.findings.append(warning("QueueLong", queue.name, message, remedy))
    letters = await queue_state(connection, report.dead_letter_queue)
    if letters is not None and letters.messages:
        message = f"{letters.messages} messages could not be handled"
        remedy = "`slipway-admin dead-letters list` says why; replay them once the cause is mended, or drop them"
        diagnosis.findings.append(warning("DeadLetters", report.dead_letter_queue, message, remedy))


async def _management(diagnosis: Diagnosis, configuration: Configuration) -> None:
    if configuration.management_url is None:
        diagnosis.unseen.append("the broker's bindings and clock (give management_url)")
        return
    management = Management(configuration)
    try:
        asked_at = datetime.now(UTC)
        said = await management.date()
        diagnosis.findings += clock_findings("BrokerClockSkew", "the broker", said, asked_at)
        for report in diagnosis.reports:
            for queue in report.queues:
                bound = await management.bindings(queue.name, BusNames(configuration.namespace).events)
                missing = sorted(set(queue.keys) - bound)
                if missing:
                    message = f"It is not bound to {', '.join(missing)}: such events do not reach {report.source}"
                    remedy = f"Restart {report.source}, which binds it again; then `slipway-admin resync ask`"
                    diagnosis.findings.append(error("QueueUnbound", queue.name, message, remedy))
    except httpx.HTTPError as failed:
        message = f"{configuration.management_url}: {failed or type(failed).__name__}"
        remedy = "Enable the plugin rabbitmq_management, and give the user the tag monitoring"
        diagnosis.findings.append(error("ManagementUnavailable", "the broker", message, remedy))
    finally:
        await management.close()
