"""SQLite without threads, for tests and simulations: each statement runs at once, in the caller's thread.

Registered with SQLAlchemy as `sqlite+inline`; `Database` takes such an URL like any other. A transaction that is left
open while its owner waits for the outside makes the next one fail at once with "database is locked": that is forbidden
to services, and would only be slow in production.
"""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import URL, MetaData, event, pool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from slipway_chassis.database import Database
from slipway_chassis.tables import CHASSIS

registry.register("sqlite.inline", __name__, "InlineDialect")

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
    """The plain driver of the standard library, behind SQLAlchemy's asynchronous interface."""

    driver = "inline"
    is_async = True
    supports_statement_cache = True

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
    database = Database(f"sqlite+inline:///{place}")
    event.listen(database.engine.sync_engine, "connect", _connected)
    await database.create_all(CHASSIS, *metadata)
    return database


def _connected(connection: Any, _record: Any) -> None:
    for pragma in _FAST:
        connection.execute(f"PRAGMA {pragma}")
