"""When a database counts as away: then messages wait, instead of going to the dead letters; and how one is made."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Column, Index, MetaData, String, Table, insert, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from slipway_chassis import work
from slipway_chassis.clock import SystemClock
from slipway_chassis.database import Database, UtcDateTime, is_away
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_chassis.testing import a_database


class DriversError(Exception):
    """An error with PostgreSQL's code, as its drivers raise it."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"PostgreSQL's {sqlstate}")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "away"),
    [
        pytest.param("53100", True, id="its disk is full"),
        pytest.param("53300", True, id="it has no connection left"),
        pytest.param("57P01", True, id="it is shutting down"),
        pytest.param("57P03", True, id="it is starting up"),
        pytest.param("58030", True, id="its disk fails"),
        pytest.param("25006", True, id="it is a standby that only reads"),
        pytest.param("08006", True, id="the connection broke"),
        pytest.param("40P01", False, id="a deadlock is tried again"),
        pytest.param("23505", False, id="a key that is there already is our mistake"),
        pytest.param("57014", False, id="a statement that was cancelled is our mistake"),
    ],
)
@pytest.mark.parametrize("wrapped", [True, False], ids=["by SQLAlchemy", "by the driver alone"])
def test_what_postgresql_says(sqlstate: str, away: bool, wrapped: bool) -> None:
    error = DriversError(sqlstate)
    assert is_away(DBAPIError("insert", {}, error) if wrapped else error) is away


async def test_a_disk_without_room_is_away_though_everything_can_be_read(tmp_path: Path) -> None:
    database = await a_database(tmp_path)
    with no_room():
        with pytest.raises(OperationalError) as refused:
            await write(database)
        assert is_away(refused.value)
        assert not await database.is_available()
        assert database.trouble == "disk I/O error"
    assert await database.is_available()
    assert database.trouble is None
    await write(database)
    await database.close()


async def write(database: Database) -> None:
    async with database.transaction() as session:
        await work.mark_dirty(session, "cluster", "c1", SystemClock().now())


@contextmanager
def no_room() -> Iterator[None]:
    """No file of this process can grow: a limit that it may lift again itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_an_inline_database_has_its_tables_and_keeps_what_is_in_them(tmp_path: Path) -> None:
    tables = MetaData()
    letters = Table("letters", tables, Column("letter", String(1), primary_key=True), Column("at", UtcDateTime))
    Index("ix_letters_at", letters.c.at)
    for letter in "ab":
        database = await an_inline_database(tmp_path / "letters.db", tables)
        async with database.transaction() as session:
            await session.execute(insert(letters).values(letter=letter))
            found = (await session.execute(select(letters.c.letter).order_by(letters.c.letter))).scalars().all()
            indexes = (await session.execute(text("SELECT name FROM sqlite_master WHERE type = 'index'"))).scalars()
            assert "ix_letters_at" in set(indexes)
        await database.close()
    assert found == ["a", "b"]
