"""The script that PostgreSQL's container runs once: a role and a database for each service, which no other enters."""

import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from slipway_chassis.migrations import upgrade
from slipway_chassis.tls import SERVICES
from slipway_platform.prepare import prepare

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL of our own, for roles belong to the whole server, as the script leaves it."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or shutil.which("psql") is None:
        pytest.skip("no PostgreSQL programs: install the distribution's package postgresql")
    secrets = tmp_path_factory.mktemp("secrets")
    prepare(secrets, [])
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        private_postgresql = importlib.import_module("dev.backends").private_postgresql
    with private_postgresql() as url:
        at = make_url(url)
        place = {"PGHOST": str(at.host), "PGPORT": str(at.port), "POSTGRES_USER": "postgres", "SECRETS": str(secrets)}
        subprocess.run(["bash", ROOT / "deploy/compose/databases.sh"], env={**os.environ, **place}, check=True)
        yield url


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_migrates_its_own_database(server: str, service: str) -> None:
    own = make_url(server).set(drivername="postgresql+asyncpg", username=service, database=service)
    upgrade(service, own.render_as_string(hide_password=False))
    with psycopg.connect(f"{server.replace('postgres@', f'{service}@').removesuffix('postgres')}{service}") as found:
        assert found.execute("select count(*) from work").fetchone() == (0,)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_cannot_enter_the_database_of_another(server: str, service: str) -> None:
    for other in set(SERVICES) - {service}:
        place = f"{server.replace('postgres@', f'{service}@').removesuffix('postgres')}{other}"
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(place)


def test_every_role_has_a_password(server: str) -> None:
    with psycopg.connect(server) as found:
        rows = found.execute("select rolname, rolpassword from pg_authid where rolcanlogin").fetchall()
    protected = {name for name, password in rows if password and password.startswith("SCRAM-SHA-256")}
    assert protected == set(SERVICES)
