"""Writes the secrets that docker-compose.yml names: `python -m slipway_platform.prepare deploy/compose/secrets`.

Each run makes what is missing and changes no secret that is there, so one of your own stays; RabbitMQ's definitions are
written anew, for they follow the services' routes. The folder is for its owner alone; the files in it can be read by
all, for a container sees them as another user.
"""

import argparse
import base64
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from slipway_chassis.tls import SERVICES, make_service_pki
from slipway_chassis.topology import GLOBAL_REGION, BusNames
from slipway_platform.bus_definitions import BusPlan, definitions

DATABASES = "127.0.0.1:15432"
"""Where docker-compose.yml publishes PostgreSQL."""
BROKER = "127.0.0.1:15673"
"""Where it publishes RabbitMQ."""
DEFINITIONS = "rabbitmq_definitions.json"
"""What RabbitMQ loads when it starts: a user for each service, with its permissions."""


def prepare(folder: Path, hosts: Sequence[str], region: str = "sandbox") -> list[Path]:
    """Make every secret of a host that serves this region and that is not there yet; returns what was made.

    `hosts` are the names and addresses that machines reach this host by.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    before = set(folder.iterdir())
    make_service_pki(folder, sorted({"localhost", "127.0.0.1", *hosts}))
    _keep(folder / "master.key", base64.b64encode(secrets.token_bytes(32)).decode())
    _keep(folder / "database_password", secrets.token_urlsafe(24))
    names = BusNames()
    _keep(folder / "slipway_operator_amqp_url", _broker_url(folder, names.operator))
    for service in SERVICES:
        password = _keep(folder / f"database_password_{service}", secrets.token_urlsafe(24))
        database = f"postgresql+asyncpg://{service}:{quote(password, safe='')}@{DATABASES}/{service}"
        _keep(folder / f"slipway_{service}_database_url", database)
        user = names.user(service, GLOBAL_REGION if service == "api" else region)
        _keep(folder / f"slipway_{service}_amqp_url", _broker_url(folder, user))
    bus = definitions(BusPlan((region,), names), lambda user: _bus_password(folder, user))
    (folder / DEFINITIONS).unlink(missing_ok=True)
    (folder / DEFINITIONS).write_text(json.dumps(bus, indent=1) + "\n")
    (folder / DEFINITIONS).chmod(0o444)
    made = sorted(set(folder.iterdir()) - before)
    for path in made:
        path.chmod(0o444)
    return made


def _bus_password(folder: Path, user: str) -> str:
    return _keep(folder / f"rabbitmq_password_{user}", secrets.token_urlsafe(24))


def _broker_url(folder: Path, user: str) -> str:
    return f"amqp://{user}:{quote(_bus_password(folder, user), safe='')}@{BROKER}/"


def _keep(path: Path, fresh: str) -> str:
    """What the file says, without the line's end that an editor leaves; written first if it is not there."""
    if not path.exists():
        path.write_text(fresh)
    return path.read_text().rstrip("\n")


def main(arguments: Sequence[str]) -> int:
    """Prepare the folder and say what was made."""
    parser = argparse.ArgumentParser(prog="slipway_platform.prepare", description="make the secrets of a deployment")
    parser.add_argument("folder", type=Path, help="gets one file for each secret")
    parser.add_argument(
        "--host", action="append", default=[], help="a name or address by which machines reach the agents' listeners"
    )
    parser.add_argument("--region", default="sandbox", help="the region that this host serves, as SLIPWAY_REGION")
    chosen = parser.parse_args(arguments)
    made = prepare(chosen.folder, chosen.host, chosen.region)
    sys.stdout.write(
        f"{len(made)} secrets made in {chosen.folder}: {', '.join(path.name for path in made) or 'none'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
