"""Migrations lead exactly to the models, on both databases, also when several processes start at once."""

import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    NullPool,
    Numeric,
    Table,
    create_engine,
    func,
    make_url,
    select,
)

from slipway_chassis.migrations import difference, folder_of, models_of, synchronous, upgrade
from slipway_chassis.tls import SERVICES

NOW = datetime(2026, 1, 1, tzinfo=UTC)


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
    code = f"from slipway_chassis.migrations import upgrade; upgrade('healer', {database_url!r})"
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: subprocess.run([sys.executable, "-c", code], capture_output=True), range(3)))
    assert [each.returncode for each in results] == [0, 0, 0], results[0].stderr.decode()
    assert difference(database_url, models_of("healer")) == []


def revisions(service: str) -> list[str]:
    return sorted(path.name[:4] for path in (folder_of(service) / "versions").glob("*.py"))


EARLIER = [(service, revision) for service in SERVICES for revision in revisions(service)[:-1]]


@pytest.mark.parametrize(("service", "revision"), EARLIER, ids=[f"{each[0]}-{each[1]}" for each in EARLIER])
def test_what_an_earlier_revision_stored_is_there_after_the_upgrade(
    service: str, revision: str, database_url: str
) -> None:
    upgrade(service, database_url, revision)
    with opened(database_url) as connection:
        stored = tables(connection)
        for table in stored:
            fill(connection, table)
    assert stored
    upgrade(service, database_url)
    assert difference(database_url, models_of(service)) == []
    with opened(database_url) as connection:
        left = {table.name: table for table in tables(connection)}
        for name in (table.name for table in stored):
            assert connection.execute(select(func.count()).select_from(left[name])).scalar_one() == 1, name


def test_a_frozen_membership_of_etcd_becomes_places(database_url: str) -> None:
    upgrade("provisioner", database_url, "0004")
    with opened(database_url) as connection:
        known = {table.name: table for table in tables(connection)}
        members = ["n1", "n2"]
        fill(connection, known["clusters"], cluster_id="c1", etcd_members=members)
        for number, node_id in enumerate([*members, "n3"], start=1):
            more = {"name": f"etcd-{number}", "addresses": [f"10.0.0.{number}"], "incarnation": 1}
            fill(connection, known["nodes"], node_id=node_id, cluster_id="c1", joined_at=NOW, **more)
    upgrade("provisioner", database_url)
    with opened(database_url) as connection:
        known = {table.name: table for table in tables(connection)}
        places = connection.execute(select(known["etcd_places"]).order_by("node_id")).mappings().all()
        (cluster,) = connection.execute(select(known["clusters"])).mappings()
    initial = [["etcd-1", "10.0.0.1"], ["etcd-2", "10.0.0.2"]]
    assert [(place["node_id"], place["address"], place["initial"]) for place in places] == [
        ("n1", "10.0.0.1", initial),
        ("n2", "10.0.0.2", initial),
    ]
    assert cluster["etcd_formed_at"] is not None


@contextmanager
def opened(database_url: str) -> Iterator[Connection]:
    engine = create_engine(synchronous(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def tables(connection: Connection) -> list[Table]:
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name != "alembic_version"]


def fill(connection: Connection, table: Table, **values: object) -> None:
    """Store one row with something in every column that must have something; the given values go before."""
    needed = {column.name: sample(column) for column in table.columns if not column.nullable}
    connection.execute(table.insert().values({**needed, **values}))


def sample(column: Column[Any]) -> object:
    kind = column.type
    if isinstance(kind, JSON):
        return []
    if isinstance(kind, DateTime):
        return NOW
    if isinstance(kind, LargeBinary):
        return b"sealed"
    if isinstance(kind, Boolean):
        return False
    return 1 if isinstance(kind, Numeric | Integer | Float) else "x"


@pytest.mark.parametrize("service", SERVICES)
def test_each_revision_is_a_file_with_its_number(service: str) -> None:
    names = sorted(path.name for path in (folder_of(service) / "versions").glob("*.py"))
    assert [name[:4] for name in names] == [f"{number:04d}" for number in range(1, len(names) + 1)]
    assert names
