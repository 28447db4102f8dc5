"""A virtual host of its own on the local RabbitMQ, with users exactly as the definitions file says."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from yarl import URL

from slipway_chassis.topology import GLOBAL_REGION, BusNames
from slipway_platform.bus_definitions import BusPlan, definitions

READER = "automation"


@dataclass(frozen=True)
class Secured:
    """A virtual host where everybody has a user and no more permissions than the definitions give."""

    base: URL
    vhost: str
    namespace: str
    region: str
    passwords: dict[str, str]

    @property
    def names(self) -> BusNames:
        return BusNames(self.namespace)

    @property
    def reader(self) -> str:
        return f"{self.namespace}-{READER}"

    @property
    def admin_url(self) -> str:
        """As the broker's administrator, who may do anything."""
        return str(self.base.with_path(f"/{self.vhost}"))

    def url_of(self, user: str) -> str:
        """As this user."""
        return str(self.base.with_user(user).with_password(self.passwords[user]).with_path(f"/{self.vhost}"))

    def service_url(self, service: str) -> str:
        """As the user of this service."""
        return self.url_of(self.names.user(service, GLOBAL_REGION if service == "api" else self.region))


def rabbitmqctl(*arguments: str) -> str:
    done = subprocess.run(["rabbitmqctl", "--quiet", *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"rabbitmqctl {arguments[0]}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def secure(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Secured]]:
    """Makes such a virtual host for a region; needs rabbitmqctl of the RabbitMQ at AMQP_URL, as root."""
    base = URL(amqp_url)
    local = base.host in ("127.0.0.1", "localhost") and (base.port or 5672) == 5672
    if os.geteuid() != 0 or shutil.which("rabbitmqctl") is None or not local:
        pytest.skip("users and permissions are tested with rabbitmqctl of a local RabbitMQ on port 5672, as root")
    made: list[Secured] = []

    def make(region: str) -> Secured:
        name = f"test-{secrets.token_hex(4)}"
        passwords: dict[str, str] = {}
        plan = BusPlan((region,), BusNames(name), name, {f"{name}-{READER}": r"node\.unhealthy\.v1\..+"})
        document = definitions(plan, lambda user: passwords.setdefault(user, secrets.token_hex(8)))
        document["permissions"].append(
            {"user": base.user, "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
        )
        file = tmp_path_factory.mktemp("broker") / "definitions.json"
        file.write_text(json.dumps(document))
        made.append(Secured(base, name, name, region, passwords))
        _import(file)
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            users = "".join(f', rabbit_auth_backend_internal:delete_user(<<"{user}">>, <<"test">>)'
                            for user in each.passwords)  # fmt: skip
            rabbitmqctl("eval", f'rabbit_vhost:delete(<<"{each.vhost}">>, <<"test">>){users}.')


def _import(file: Path) -> None:
    """Through standard input: the broker's own user need not read our folders."""
    with file.open() as document:
        done = subprocess.run(
            ["rabbitmqctl", "--quiet", "import_definitions"], stdin=document, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def secured(secure: Callable[[str], Secured]) -> Secured:
    """One for the tests of a session."""
    return secure("tokyo")
