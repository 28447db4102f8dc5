"""One service's database on SQLite without threads, and the simulation's own look into it."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import MetaData, event

from slipway_chassis.database import Database
from slipway_chassis.inline_sqlite import an_inline_database, in_memory


class Store:
    """A database that outlives the processes that use it. `open` comes first, `close` last."""

    database: Database

    def __init__(self, folder: Path, name: str, metadata: MetaData) -> None:
        self._name = f"{folder.name}-{name}"
        self._metadata = metadata
        self._connections: set[sqlite3.Connection] = set()

    async def open(self) -> None:
        """Make the tables."""
        self.database = await an_inline_database(in_memory(self._name), self._metadata)
        event.listen(self.database.engine.sync_engine, "checkout", self._taken)
        self._look = sqlite3.connect(in_memory(self._name), isolation_level=None, uri=True)

    async def close(self) -> None:
        """Close everything."""
        self._look.close()
        await self.database.close()

    def take_picture(self) -> sqlite3.Connection:
        """A copy of what is committed now."""
        picture = sqlite3.connect(":memory:")
        self._look.backup(picture)
        return picture

    def go_back(self, picture: sqlite3.Connection) -> None:
        """The database is again as it was when the picture was taken. Nobody may be using it."""
        picture.backup(self._look)

    @property
    def rows_written(self) -> int:
        """Rows inserted, changed or deleted so far, by anybody."""
        return sum(connection.total_changes for connection in self._connections)

    def ask(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """What is committed now."""
        return self._look.execute(query, parameters).fetchall()

    def _taken(self, connection: Any, _record: Any, _proxy: Any) -> None:
        self._connections.add(connection)
