"""What other tests' faults stand on: a killed PostgreSQL loses what it had confirmed, a copy brings back what was."""

from collections.abc import Iterator

import psycopg
import pytest

from slipway_platform.postgres import MISSING, PrivatePostgres, a_private_postgres, postgres_programs

LOSING = ("synchronous_commit = off", "wal_writer_delay = 10s", "autovacuum = off")


@pytest.fixture
def server() -> Iterator[PrivatePostgres]:
    if postgres_programs() is None:
        pytest.skip(MISSING)
    with a_private_postgres(LOSING) as private:
        yield private


def run(server: PrivatePostgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def test_a_kill_loses_the_last_commits_and_no_others(server: PrivatePostgres) -> None:
    run(server, "create table said (word text)")
    run(server, "insert into said values ('kept')")
    run(server, "checkpoint")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("insert into said values ('lost')")
        server.kill()
    server.start()
    assert run(server, "select word from said") == [("kept",)]


def test_a_restored_copy_is_what_was_then(server: PrivatePostgres) -> None:
    run(server, "create table said (word text)")
    server.stop()
    server.backup()
    server.start()
    run(server, "insert into said values ('later')")
    server.stop()
    server.restore()
    server.start()
    assert run(server, "select word from said") == []


def test_a_running_server_is_not_copied(server: PrivatePostgres) -> None:
    with pytest.raises(RuntimeError, match="only while PostgreSQL is stopped"):
        server.backup()


def test_nothing_of_it_is_left() -> None:
    if postgres_programs() is None:
        pytest.skip(MISSING)
    with a_private_postgres() as private:
        folder = private.process.cwd
        assert folder.exists()
    assert not folder.exists()
