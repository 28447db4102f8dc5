"""A database for each service on a PostgreSQL of our own."""

import psycopg

from slipway_chassis.tls import SERVICES
from slipway_platform.postgres import PrivatePostgres


def made_databases(server: PrivatePostgres) -> dict[str, str]:
    """Make an empty database for each service; SQLAlchemy's URLs."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        for service in SERVICES:
            connection.execute(f'CREATE DATABASE "{service}"'.encode())
    base = server.url.rpartition("/")[0].replace("postgresql://", "postgresql+asyncpg://")
    return {service: f"{base}/{service}" for service in SERVICES}
