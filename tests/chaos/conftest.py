"""Two replicas of every service on a RabbitMQ and a PostgreSQL of their own, which tests may break as they like."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.broker import PrivateBroker, rabbitmq_server
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.postgres import MISSING, PrivatePostgres, a_private_postgres, postgres_programs
from slipway_platform.testing import ServerHistory, User
from tests.chaos.databases import made_databases
from tests.chaos.life import Lives

SETTINGS = {
    # a dead replica's work is free again soon; consumers that stay away end a process while a test can still see it
    **{service: {"LEASE_FOR": "PT4S", "CONSUMERS_GONE_AFTER": "PT15S"} for service in SERVICES},
}
HEARTBEAT = "heartbeat = 4"
"""Seconds; after two of them without a sign the other side is given up."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a chaos test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.chaos)
            item.add_marker(pytest.mark.timeout(400))
            # openstacksdk warns of its own calls
            item.add_marker(pytest.mark.filterwarnings("ignore:The _compute_attributes method"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    if rabbitmq_server() is None:
        pytest.skip("there is no rabbitmq-server here: install the package rabbitmq-server")
    private = PrivateBroker(tmp_path_factory.mktemp("broker"), [HEARTBEAT])
    try:
        private.start()
        yield private
    finally:
        private.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    if postgres_programs() is None:
        pytest.skip(MISSING)
    with a_private_postgres(["max_connections = 300"]) as private:
        yield private


@pytest.fixture(scope="session")
def the_platform(
    broker: PrivateBroker, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    platform = Platform(
        tmp_path_factory.mktemp("platform"),
        broker.url,
        sandbox_region(),
        database_url=made_databases(postgres).__getitem__,
        settings=SETTINGS,
        replicas=2,
    )
    with running(platform):
        yield platform


@pytest.fixture
def platform(the_platform: Platform, broker: PrivateBroker, postgres: PrivatePostgres) -> Iterator[Platform]:
    """The platform, all replicas ready; afterwards what a test broke is whole again."""
    yield the_platform
    for server in (broker, postgres):
        server.process.resume()
        if not server.process.is_running:
            server.start()
    for service in SERVICES:
        for replica in (1, 2):
            process = the_platform.process(service, replica)
            process.resume()
            if not process.is_running or {"SLIPWAY_CRASH_AT", "SLIPWAY_PAUSE_AT"} & set(process.environment):
                process.kill()
                the_platform.start_service(service, replica=replica)
    the_platform.wait_ready()


@pytest.fixture
def lives(platform: Platform, user: User, history: ServerHistory) -> Lives:
    """Clusters that are created, scaled and deleted, and what must be true at their end."""
    return Lives(platform, user, history)
