"""Runs a command with a RabbitMQ and a PostgreSQL: given, answering locally, in Docker, or from the distribution.

    python -m dev.backends [--rabbitmq] [--postgresql] -- COMMAND ...

The command finds them in AMQP_URL and POSTGRES_URL. What was started here is stopped at the end, and nothing else.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slipway_platform.broker import PrivateBroker, amqp_answers, rabbitmq_server
from slipway_platform.postgres import a_private_postgres, postgres_programs
from slipway_platform.processes import ProcessFailedError

START_WITHIN = 90.0


def main() -> int:
    """Find or start what is asked for, run the command, return its exit code."""
    parser = argparse.ArgumentParser(prog="dev.backends")
    parser.add_argument("--rabbitmq", action="store_true")
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()
    with ExitStack() as stack:
        environment = dict(os.environ)
        if wanted.rabbitmq:
            environment["AMQP_URL"] = stack.enter_context(_rabbitmq())
        if wanted.postgresql:
            environment["POSTGRES_URL"] = stack.enter_context(_postgresql())
        return _run(wanted.command, environment)


def _run(command: list[str], environment: dict[str, str]) -> int:
    process = subprocess.Popen(command, env=environment)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: process.send_signal(received))
    return process.wait()


# -- RabbitMQ


@contextmanager
def _rabbitmq() -> Iterator[str]:
    given = os.environ.get("AMQP_URL")
    if given:
        yield given
    elif amqp_answers("127.0.0.1", 5672):
        yield "amqp://guest:guest@127.0.0.1:5672/"
    elif _docker():
        from testcontainers.rabbitmq import RabbitMqContainer

        _say("starting RabbitMQ in Docker")
        with RabbitMqContainer("rabbitmq:4-alpine") as container:
            yield f"amqp://guest:guest@{container.get_container_host_ip()}:{container.get_exposed_port(5672)}/"
    else:
        _install("rabbitmq-server", present=lambda: rabbitmq_server() is not None)
        with _private_rabbitmq() as url:
            yield url


@contextmanager
def _private_rabbitmq() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="slipway-rabbitmq-"))
    broker = PrivateBroker(folder)
    _say(f"starting RabbitMQ on port {broker.port}")
    try:
        broker.start()
        yield broker.url
    except ProcessFailedError as failed:
        sys.exit(str(failed))
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


# -- PostgreSQL


@contextmanager
def _postgresql() -> Iterator[str]:
    given = os.environ.get("POSTGRES_URL")
    local = "postgresql://postgres@127.0.0.1:5432/postgres"
    if given:
        yield given
    elif _postgres_answers(local):
        yield local
    elif _docker():
        from testcontainers.postgres import PostgresContainer

        _say("starting PostgreSQL in Docker")
        with PostgresContainer("postgres:17-alpine", driver=None) as container:
            yield container.get_connection_url()
    else:
        _install("postgresql", present=lambda: postgres_programs() is not None)
        _say("starting PostgreSQL")
        with private_postgresql() as url:
            yield url


@contextmanager
def private_postgresql() -> Iterator[str]:
    """A PostgreSQL of its own from the distribution's programs, for as long as the block lasts; its URL."""
    with a_private_postgres() as server:
        yield server.url


def _postgres_answers(url: str) -> bool:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            connection.execute("select 1")
    except psycopg.Error:
        return False
    return True


# -- what both need


def _docker() -> bool:
    if not shutil.which("docker"):
        return False
    try:
        return subprocess.run(["docker", "info"], check=False, timeout=20, capture_output=True).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _install(package: str, present: Callable[[], bool]) -> None:
    """Install a package of the distribution, without letting it start a daemon of its own."""
    if present():
        return
    _say(f"installing the package {package}")
    root = [] if os.geteuid() == 0 else ["sudo"]
    policy = Path("/usr/sbin/policy-rc.d")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    made = os.geteuid() == 0 and not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        subprocess.run([*root, "apt-get", "update", "-qq"], env=environment, check=False)
        subprocess.run(
            [*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
            env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{package} could not be installed ({error}); install it, or set AMQP_URL and POSTGRES_URL.")
    finally:
        if made:
            policy.unlink()


def _say(sentence: str) -> None:
    sys.stderr.write(f"· {sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
