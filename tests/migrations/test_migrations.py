"""Migrations lead exactly to the models, on both databases, also when several processes start at once."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from slipway_chassis.migrations import difference, folder_of, models_of, upgrade
from slipway_chassis.tls import SERVICES


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'service.db'}"
        return
    server = request.getfixturevalue("postgres_url")
    name = f"slipway_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    url = make_url(server).set(drivername="postgresql+asyncpg", database=name)
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.mark.parametrize("service", SERVICES)
def test_the_migrations_lead_to_the_models(service: str, database_url: str) -> None:
    upgrade(service, database_url)
    assert difference(database_url, models_of(service)) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_replicas_that_start_at_once_migrate_once(database_url: str) -> None:
    # Alembic's context is global to a process: one process a replica, as in operation
    import subprocess
    import sys

    code = f"from slipway_chassis.migrations import upgrade; upgrade('healer', {database_url!r})"
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code], capture_output=True), range(3)))
    assert [each.returncode for each in results] == [0, 0, 0], results[0].stderr.decode()
    assert difference(database_url, models_of("healer")) == []


@pytest.mark.parametrize("service", SERVICES)
def test_each_revision_is_a_file_with_its_number(service: str) -> None:
    names = sorted(path.name for path in (folder_of(service) / "versions").glob("*.py"))
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]
    assert names
