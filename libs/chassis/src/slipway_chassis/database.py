"""A service's own database: PostgreSQL in production, an SQLite file on a laptop.

SQLite transactions that write begin with BEGIN IMMEDIATE: with the driver's own deferred ones concurrent
read-modify-writes are lost without an error.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar, cast

import structlog
from sqlalchemy import (
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Table,
    TypeDecorator,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from slipway_chassis import crash
from slipway_chassis.clock import Clock

log = structlog.get_logger()

T = TypeVar("T")

_AWAY = (OperationalError, InterfaceError, PoolTimeoutError, OSError)
_SQLITE_MISTAKES = ("no such table", "no such column", "syntax error", "has no column")
_CONFLICTS = ("40001", "40P01")
"""PostgreSQL's serialization_failure and deadlock_detected: of transactions that wait for each other it ends one."""
_IDLE_LIMIT = {"server_settings": {"idle_in_transaction_session_timeout": "30s"}}
"""A replica that stands still in the middle of a transaction keeps its rows locked from all others; after this time
PostgreSQL ends its connection. Publishing a batch, for which we leave one idle the longest, takes five seconds."""
_AWAY_STATES = ("08", "25006", "25P03", "53", "57P", "58")
"""PostgreSQL's classes of SQLSTATE that say that the server, not the statement, is the trouble: connection lost, only
reading (a standby), our transaction idle for too long, out of disk, memory or connections, shutting down or starting
up, input and output failed."""
_ATTEMPTS = 5

_READING = "slipway_reading"


def is_away(error: BaseException) -> bool:
    """Whether the error says that the database is away, as opposed to a mistake of ours; SQLite mixes the two."""
    if is_conflict(error):
        return False
    if _sqlstate(error).startswith(_AWAY_STATES):
        return True
    return isinstance(error, _AWAY) and not any(mistake in str(error) for mistake in _SQLITE_MISTAKES)


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction was in the way, so that this one may simply be tried again."""
    return _sqlstate(error) in _CONFLICTS


def _sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of the error; empty for any other."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or ""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes on both databases (SQLite would give naive ones back)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime is not stored; give it a time zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give aware datetimes back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Database:
    """One service's database. `transaction` writes, `reading` reads from one snapshot and blocks nobody."""

    def __init__(self, url: str, *, pool_size: int = 10, compiled: MutableMapping[Any, Any] | None = None) -> None:
        """Errors tell statements without their values, which are people's data.

        `compiled` is where SQLite's compiled statements are kept, if several databases share them.
        """
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if self.is_sqlite:
            if parsed.database in (None, "", ":memory:"):
                raise ValueError("an in-memory SQLite database has one connection; name a file")
            self.engine = create_async_engine(
                url,
                hide_parameters=True,
                connect_args={"isolation_level": None, "timeout": 30},
                execution_options={} if compiled is None else {"compiled_cache": compiled},
            )
            event.listen(self.engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self.engine.sync_engine, "begin", _begin_sqlite)
        else:
            self.engine = create_async_engine(
                url,
                hide_parameters=True,
                pool_size=pool_size,
                max_overflow=5,
                pool_pre_ping=True,
                connect_args=_IDLE_LIMIT,
            )
        self._writing = async_sessionmaker(self.engine, expire_on_commit=False)
        self._refused_writing = False
        self.trouble: str | None = None
        """Why it was not available when that was asked last."""
        self._reading = async_sessionmaker(self.engine.execution_options(**{_READING: True}), expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction that commits at the end, or rolls back on any exception."""
        try:
            async with self._writing() as session:
                async with session.begin():
                    yield session
                    await session.flush()
                    crash.point("commit:before")
                crash.point("commit:after")
        except Exception as error:
            self._refused_writing = self._refused_writing or is_away(error)
            raise

    async def commit(self, change: Callable[[AsyncSession], Awaitable[T]]) -> T:
        """Make the change in a transaction of its own, again when another one was in its way; returns its result."""
        for _ in range(_ATTEMPTS - 1):
            try:
                async with self.transaction() as session:
                    return await change(session)
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
                log.info("Transaction is tried again", cause=str(error.orig)[:200])
        async with self.transaction() as session:
            return await change(session)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A transaction that only reads."""
        async with self._reading() as session, session.begin():
            yield session

    async def create_all(self, *metadata: MetaData) -> None:
        """Create the tables without migrations, for tests and simulations."""
        async with self.engine.begin() as connection:
            for each in metadata:
                await connection.run_sync(each.create_all)

    async def is_available(self) -> bool:
        """Whether the database answers now, and takes a commit again where one was refused; else `trouble` says why."""
        try:
            if self._refused_writing:
                await self._write_nothing()
                self._refused_writing = False
            async with self.reading() as session:
                await session.execute(select(1))
        except (*_AWAY, DBAPIError) as error:
            self.trouble = _first_line(error)
            return False
        self.trouble = None
        return True

    async def _write_nothing(self) -> None:
        """A commit that reaches the disk and changes nothing: a full disk, or a standby, still lets everybody read."""
        async with self.engine.begin() as connection:
            if self.is_sqlite:
                version = (await connection.exec_driver_sql("PRAGMA user_version")).scalar_one()
                await connection.exec_driver_sql(f"PRAGMA user_version = {version}")
            else:
                await connection.execute(select(func.txid_current()))

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


def _first_line(error: BaseException) -> str:
    """What the driver says, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return (str(cause).strip() or type(cause).__name__).splitlines()[0][:200]


async def lease_clock(session: AsyncSession, clock: Clock) -> datetime:
    """The time that leases are measured on: the database's own where several replicas share one."""
    if session.get_bind().dialect.name == "sqlite":
        return clock.now()
    return cast("datetime", (await session.execute(select(func.clock_timestamp()))).scalar_one())


async def upsert(
    session: AsyncSession,
    table: Table,
    values: dict[str, Any],
    keys: Sequence[str],
    *,
    newer: str | None = None,
) -> bool:
    """Insert the row or replace the one with the same keys; with `newer` only if that column is greater.

    Returns whether a row was written.
    """
    statement = _upsert_statement(session.get_bind().dialect.name, table, tuple(values), tuple(keys), newer)
    return (await session.execute(statement, values)).first() is not None


@lru_cache(maxsize=256)
def _upsert_statement(
    dialect: str, table: Table, columns: tuple[str, ...], keys: tuple[str, ...], newer: str | None
) -> Any:
    insert: Any = sqlite_insert if dialect == "sqlite" else postgresql_insert
    statement = insert(table)
    changes = {name: statement.excluded[name] for name in columns if name not in keys}
    condition = None if newer is None else table.c[newer] < statement.excluded[newer]
    # rowcount of INSERT .. ON CONFLICT differs between drivers; a returned row does not
    return statement.on_conflict_do_update(index_elements=list(keys), set_=changes, where=condition).returning(
        table.c[keys[0]]
    )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    reading = connection.get_execution_options().get(_READING)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


BigIntegerKey = Integer().with_variant(Integer(), "sqlite")
"""An auto-incremented key: SQLite does so only for INTEGER."""
