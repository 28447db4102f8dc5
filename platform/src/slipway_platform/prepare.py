"""Writes the secrets that docker-compose.yml names: `python -m slipway_platform.prepare deploy/compose/secrets`.

Each run makes what is missing and changes nothing that is there, so a secret of your own stays. The folder is for its
owner alone; the files in it can be read by all, for a container sees them as another user.
"""

import argparse
import base64
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from slipway_chassis.tls import SERVICES, make_service_pki

DATABASES = "127.0.0.1:15432"
"""Where docker-compose.yml publishes PostgreSQL."""
BROKER = "127.0.0.1:15673"
"""Where it publishes RabbitMQ."""


def prepare(folder: Path, hosts: Sequence[str]) -> list[Path]:
    """Make every secret that is not there yet; `hosts` are the names and addresses that machines reach this host by."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    before = set(folder.iterdir())
    make_service_pki(folder, sorted({"localhost", "127.0.0.1", *hosts}))
    _keep(folder / "master.key", base64.b64encode(secrets.token_bytes(32)).decode())
    _keep(folder / "database_password", secrets.token_urlsafe(24))
    broker = _keep(folder / "rabbitmq_password", secrets.token_urlsafe(24))
    _keep(folder / "rabbitmq_user", f"default_user = slipway\ndefault_pass = {broker}\n")
    for service in SERVICES:
        password = _keep(folder / f"database_password_{service}", secrets.token_urlsafe(24))
        database = f"postgresql+asyncpg://{service}:{quote(password, safe='')}@{DATABASES}/{service}"
        _keep(folder / f"slipway_{service}_database_url", database)
        _keep(folder / f"slipway_{service}_amqp_url", f"amqp://slipway:{quote(broker, safe='')}@{BROKER}/")
    made = sorted(set(folder.iterdir()) - before)
    for path in made:
        path.chmod(0o444)
    return made


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
    chosen = parser.parse_args(arguments)
    made = prepare(chosen.folder, chosen.host)
    sys.stdout.write(
        f"{len(made)} secrets made in {chosen.folder}: {', '.join(path.name for path in made) or 'none'}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
