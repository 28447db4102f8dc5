"""SQLite without threads, for tests and simulations: each statement runs at once, in the caller's thread.

Registered with SQLAlchemy as `sqlite+inline`; `Database` takes such an URL like any other. A transaction that is left
open while its owner waits for the outside makes the next one fail at once with "database is locked": that is forbidden
to services, and would only be slow in production.
"""

import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, MetaData, create_engine, event, pool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from slipway_chassis.database import Database
from slipway_chassis.tables import CHASSIS

registry.register("sqlite.inline", __name__, "InlineDialect")

_COMPILED: LRUCache[Any, Any] = LRUCache(2000)
"""Statements as they were compiled, for all databases of this process: tests make hundreds of these."""

_FAST = ("journal_mode=WAL", "synchronous=OFF", "busy_timeout=0", "wal_autocheckpoint=10000")


class _Cursor(sqlite3.Cursor):
    """What SQLAlchemy expects of an asynchronous driver's cursor."""

    server_side = False

    async def _async_soft_close(self) -> None:
        """Nothing is held open."""


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)


class InlineDialect(SQLiteDialect_pysqlite):
    """The plain driver of the standard library, behind SQLAlchemy's asynchronous interface.

    All of them are equal: what one compiled serves the databases of the next test too.
    """

    driver = "inline"
    is_async = True
    supports_statement_cache = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InlineDialect)

    def __hash__(self) -> int:
        return hash(InlineDialect)

    @classmethod
    def get_pool_class(cls, url: URL) -> type[pool.Pool]:  # noqa: ARG003  SQLAlchemy's signature
        """A pool that the asynchronous engine accepts."""
        return pool.AsyncAdaptedQueuePool

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection whose cursors fit."""
        return super().connect(*arguments, **{**options, "factory": _Connection})


def in_memory(name: str) -> str:
    """A place of this process' memory, which all connections that name it share while one of them is open."""
    return f"file:/{name}?vfs=memdb&uri=true"


async def an_inline_database(place: Path | str, *metadata: MetaData) -> Database:
    """A database in this file or memory with the chassis' tables and these; whoever asks for it closes it."""
    database = Database(f"sqlite+inline:///{place}", compiled=_COMPILED)
    event.listen(database.engine.sync_engine, "connect", _connected)
    async with database.engine.begin() as connection:
        await connection.run_sync(_create_all, CHASSIS, *metadata)
    return database


def _create_all(connection: Connection, *metadata: MetaData) -> None:
    known = set(connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars())
    for name, statement in _schema(*metadata).items():
        if name not in known:
            connection.exec_driver_sql(statement)


@lru_cache
def _schema(*metadata: MetaData) -> Mapping[str, str]:
    """By the names of tables and indexes, the statements that make them: worked out once in a process."""
    engine = create_engine("sqlite://")
    for each in metadata:
        each.create_all(engine)
    with engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
        found = {row.name: row.sql for row in rows}
    engine.dispose()
    return found


def _connected(connection: Any, _record: Any) -> None:
    for pragma in _FAST:
        connection.execute(f"PRAGMA {pragma}")
