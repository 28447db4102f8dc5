"""The same services on PostgreSQL, a database each."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.broker import PrivateBroker
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import Kills, ServerHistory, User, run_while_killed

pytestmark = pytest.mark.timeout(400)
CREATING = ("provisioner.create_server:after",)


@pytest.fixture
def databases(postgres_url: str) -> Iterator[dict[str, str]]:
    """An empty database for each service, dropped afterwards: SQLAlchemy's URLs."""
    names = {service: f"slipway_{service}_{secrets.token_hex(4)}" for service in SERVICES}
    base = postgres_url.rpartition("/")[0].replace("postgresql://", "postgresql+asyncpg://")
    with psycopg.connect(postgres_url, autocommit=True) as server:
        for name in names.values():
            server.execute(f'CREATE DATABASE "{name}"'.encode())
        try:
            yield {service: f"{base}/{name}" for service, name in names.items()}
        finally:
            for name in names.values():
                server.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
def on_postgresql(
    amqp_url: str, broker: PrivateBroker | None, databases: dict[str, str], tmp_path: Path
) -> Iterator[Platform]:
    url = broker.url if broker else amqp_url
    settings = {service: {"LEASE_FOR": "PT4S"} for service in SERVICES}
    with running(
        Platform(tmp_path, url, sandbox_region(), database_url=databases.__getitem__, settings=settings)
    ) as platform:
        yield platform


def test_a_cluster_comes_and_goes_though_the_provisioner_is_killed(
    on_postgresql: Platform, small: tuple[str, ...]
) -> None:
    user, history = User(on_postgresql), ServerHistory(on_postgresql)
    try:
        before = user.inventory()
        kills = Kills(on_postgresql, "provisioner", CREATING)
        run_while_killed(user, [kills], ("cluster", "create", "kept", *small), within=200)
        assert kills.done == list(CREATING)
        history.require_one_server_for_each_node(user, "kept")
        user.slipway("cluster", "delete", "kept", "--yes")
        assert user.inventory() == before
    finally:
        user.close()
        history.close()
