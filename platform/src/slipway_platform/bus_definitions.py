"""RabbitMQ's definitions for one platform: a user for each service with no more permissions than its routes need.

    python -m slipway_platform.bus_definitions --region tokyo --passwords FOLDER > definitions.json
    rabbitmqctl import_definitions definitions.json

Passwords come from outside: FOLDER has a file for each user, named as the user; only salted hashes leave it.
"""

import argparse
import base64
import hashlib
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway_addon_manager import handlers as addon_manager_handlers
from slipway_addon_manager import routes as addon_manager_routes
from slipway_api import handlers as api_handlers
from slipway_api import routes as api_routes
from slipway_api.feed import Feed
from slipway_chassis.clock import SystemClock
from slipway_chassis.database import Database
from slipway_chassis.topology import (
    GLOBAL_REGION,
    Access,
    BusNames,
    Consumes,
    operator_access,
    reader_access,
    service_access,
)
from slipway_contracts.resync import ClusterFactsAnnounced, ResyncRequested
from slipway_healer import handlers as healer_handlers
from slipway_healer import routes as healer_routes
from slipway_monitor import routes as monitor_routes
from slipway_provisioner import handlers as provisioner_handlers
from slipway_provisioner import routes as provisioner_routes

_CLOCK = SystemClock()
_UNOPENED = Database("sqlite+aiosqlite:///never-opened.db")
_ROUTES: Mapping[str, Callable[[str], Mapping[Any, object]]] = {
    "api": lambda _: api_routes.build_routes(api_handlers.Handlers(Feed(_UNOPENED, 1.0), _CLOCK)),
    "provisioner": lambda _: provisioner_routes.build_routes(provisioner_handlers.Handlers(_CLOCK)),
    "healer": lambda _: healer_routes.build_routes(healer_handlers.Handlers(_CLOCK)),
    "monitor": lambda region: monitor_routes.build_routes(_CLOCK, region),
    "addon_manager": lambda _: addon_manager_routes.build_routes(addon_manager_handlers.Handlers(_CLOCK)),
}


def consumed_by(service: str, region: str) -> Consumes:
    """The events that a service has queues for, as its own routes say."""
    return (*_ROUTES[service](region), ResyncRequested, ClusterFactsAnnounced)


@dataclass(frozen=True)
class BusPlan:
    """Who is on the bus of one platform."""

    regions: tuple[str, ...]
    names: BusNames
    vhost: str = "/"
    readers: Mapping[str, str] = field(default_factory=dict)
    """The users of owners' automation, each with the routing keys that it may hear, as a regular expression."""

    def accesses(self) -> list[Access]:
        """The permissions of every user. ValueError when a reader's queues would be somebody else's."""
        ours = list(self._ours())
        for user in self.readers:
            for other in (each.user for each in ours):
                if f"{user}.".startswith(f"{other}.") or f"{other}.".startswith(f"{user}."):
                    raise ValueError(f"the reader {user} needs another name: queues of that name belong to {other}")
        return [*ours, *(reader_access(self.names, user, keys) for user, keys in self.readers.items())]

    def _ours(self) -> Iterator[Access]:
        for service in _ROUTES:
            for region in (GLOBAL_REGION,) if service == "api" else self.regions:
                yield service_access(self.names, service, region, consumed_by(service, region))
        yield operator_access(self.names)


def definitions(plan: BusPlan, password: Callable[[str], str]) -> dict[str, Any]:
    """The document that RabbitMQ imports: users, permissions, and the exchanges that no service may make itself."""
    accesses = plan.accesses()
    return {
        "vhosts": [{"name": plan.vhost}],
        "users": [_user(each.user, password(each.user), plan.names) for each in accesses],
        "permissions": [
            {
                "user": each.user,
                "vhost": plan.vhost,
                "configure": each.configure,
                "write": each.write,
                "read": each.read,
            }
            for each in accesses
        ],
        "topic_permissions": [
            {
                "user": each.user,
                "vhost": plan.vhost,
                "exchange": topics.exchange,
                "write": topics.write,
                "read": topics.read,
            }
            for each in accesses
            for topics in each.topics
        ],
        "exchanges": [
            {
                "name": name,
                "vhost": plan.vhost,
                "type": "topic",
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for name in (plan.names.events, plan.names.dead_letters)
        ],
    }


def _user(name: str, password: str, names: BusNames) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": password_hash(password, os.urandom(4)),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["monitoring"] if name == names.operator else [],
    }


def password_hash(password: str, salt: bytes) -> str:
    """As RabbitMQ keeps it: base64 of the salt (4 bytes) and SHA-256 of salt and password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def passwords_in(folder: Path, *, create: bool) -> Callable[[str], str]:
    """Reads the password of a user from the folder; makes a good one where there is none, if told to.

    LookupError names the file that is missing or empty.
    """

    def password(user: str) -> str:
        path = folder / user
        if not path.exists() and create:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(secrets.token_urlsafe(24))
        text = path.read_text().strip() if path.exists() else ""
        if not text:
            raise LookupError(f"{path}: there is no password of the user {user}; write it there, or give --create")
        return text

    return password


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the definitions to standard output; exit code 2 says what is missing."""
    parser = argparse.ArgumentParser(prog="python -m slipway_platform.bus_definitions")
    parser.add_argument("--region", action="append", required=True, help="a region of the platform; may be repeated")
    parser.add_argument("--namespace", default="slipway", help="as SLIPWAY_..._BUS_NAMESPACE")
    parser.add_argument("--vhost", default="/")
    parser.add_argument("--passwords", type=Path, required=True, help="folder with a file for each user")
    parser.add_argument("--create", action="store_true", help="make passwords that are not there")
    parser.add_argument(
        "--reader", action="append", default=[], metavar="NAME[=KEYS]",
        help="a user for an owner's automation, and a regular expression of the routing keys it may hear",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    try:
        readers = dict(_reader(each) for each in chosen.reader)
        plan = BusPlan(tuple(chosen.region), BusNames(chosen.namespace), chosen.vhost, readers)
        document = definitions(plan, passwords_in(chosen.passwords, create=chosen.create))
    except (LookupError, ValueError, OSError) as error:
        sys.stderr.write(f"bus_definitions: {error}\n")
        return 2
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


def _reader(text: str) -> tuple[str, str]:
    name, _, keys = text.partition("=")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", name):
        raise ValueError(f"--reader {text}: a user's name has small letters, digits, dots and hyphens")
    try:
        re.compile(keys)
    except re.error as error:
        raise ValueError(f"--reader {text}: {keys} is no regular expression: {error}") from error
    return name, keys or ".*"


if __name__ == "__main__":
    sys.exit(main())
