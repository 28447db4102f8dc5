"""Migrations: each service has an Alembic folder `migrations/`; its env.py calls `run_env(service)`."""

import importlib
import pkgutil
from pathlib import Path
from typing import Literal

from alembic import command
from alembic import context as environment
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, String, TypeDecorator, create_engine, make_url, pool, text

from slipway_chassis.database import UtcDateTime
from slipway_chassis.tables import CHASSIS

_LOCK = 7_150_417
"""Advisory lock: of several replicas that start at once, one migrates and the others wait."""


def folder_of(service: str) -> Path:
    """Where a service's migrations are: inside its installed package, or beside its sources."""
    package = importlib.import_module(f"slipway_{service}")
    inside = Path(str(package.__file__)).parent / "migrations"
    return inside if inside.is_dir() else Path(str(package.__file__)).parents[2] / "migrations"


def config_of(service: str, database_url: str) -> Config:
    """An Alembic configuration for the service's database."""
    config = Config()
    config.set_main_option("script_location", str(folder_of(service)))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = database_url
    return config


def upgrade(service: str, database_url: str, revision: str = "head") -> None:
    """Bring the database to the newest revision; safe to run from several processes at once."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    command.upgrade(config_of(service, database_url), revision)


def synchronous(database_url: str) -> str:
    """The same database through a driver without asyncio, which Alembic uses."""
    url = make_url(database_url)
    driver = "sqlite+pysqlite" if url.get_backend_name() == "sqlite" else "postgresql+psycopg"
    return url.set(drivername=driver).render_as_string(hide_password=False)


def models_of(service: str) -> MetaData:
    """The tables of a service: `metadata` in its module `store`, filled by all modules named store*."""
    package = importlib.import_module(f"slipway_{service}")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("store"):
            importlib.import_module(f"{package.__name__}.{module.name}")
    metadata: MetaData = importlib.import_module(f"{package.__name__}.store").metadata
    return metadata


def difference(database_url: str, metadata: MetaData) -> list[object]:
    """How the database differs from the models; empty when the migrations are complete."""
    engine = create_engine(synchronous(database_url), poolclass=pool.NullPool)
    together = MetaData()
    for table in (*CHASSIS.tables.values(), *metadata.tables.values()):
        table.to_metadata(together)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, together)
    engine.dispose()
    return list(found)


def run_env(service: str) -> None:
    """What a service's env.py does: run the migrations of its own tables and the chassis'."""
    metadata = models_of(service)
    engine = create_engine(synchronous(environment.config.attributes["url"]), poolclass=pool.NullPool)
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
            connection.commit()
        environment.configure(
            connection=connection,
            target_metadata=[CHASSIS, metadata],
            render_as_batch=True,
            compare_type=True,
            render_item=_render,
        )
        with environment.begin_transaction():
            environment.run_migrations()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
            connection.commit()
    engine.dispose()


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """How a type is written into a revision: one import serves all."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "slipway_chassis.database.UtcDateTime()"
    if kind == "type" and isinstance(item, TypeDecorator) and isinstance(item.impl_instance, String):
        return f"sa.String(length={item.impl_instance.length})"
    return False
