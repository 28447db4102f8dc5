"""The whole platform with a user of the broker for each service: a cluster comes and goes, and nobody is refused."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aio_pika
import pytest

from slipway_chassis.tls import SERVICES
from slipway_chassis.topology import GLOBAL_REGION
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User
from tests.bus.conftest import Secured

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


async def letters(secured: Secured) -> dict[str, int]:
    """How many dead letters each service has."""
    connection = await aio_pika.connect(secured.admin_url)
    async with connection:
        channel = await connection.channel()
        found = {}
        for service in SERVICES:
            region = GLOBAL_REGION if service == "api" else secured.region
            name = secured.names.dead_letter_queue(service, region)
            queue = await channel.declare_queue(name, passive=True)
            found[service] = queue.declaration_result.message_count or 0
        return found


def check(platform: Platform, service: str) -> list[str]:
    """What the service's own check finds while it runs."""
    environment = {**os.environ, **platform.processes[service].environment}
    command = [sys.executable, "-m", f"slipway_{service}", "check"]
    done = subprocess.run(command, env=environment, cwd=platform.folder, capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, 1), done.stderr
    return [f"{each['code']} {each['subject']}" for each in json.loads(done.stdout)["findings"]]


@pytest.mark.filterwarnings("ignore:The _compute_attributes method")
def test_a_cluster_is_made_and_deleted_by_services_that_may_do_only_their_own(
    secure: Callable[[str], Secured], tmp_path: Path
) -> None:
    region = sandbox_region()
    secured = secure(region.name)
    settings = {name: {"AMQP_URL": secured.service_url(name), "BUS_USERS": "true"} for name in SERVICES}
    platform = Platform(tmp_path, secured.admin_url, region, settings=settings, namespace=secured.namespace)
    with running(platform):
        user = User(platform)
        user.slipway("cluster", "create", "shop", "--etcd", "1", "--controllers", "1", "--workers", "1")
        assert [finding for name in SERVICES for finding in check(platform, name)] == []
        user.slipway("cluster", "delete", "shop", "--yes")
        user.close()
        assert asyncio.run(letters(secured)) == dict.fromkeys(SERVICES, 0)
    for name in SERVICES:
        said = platform.processes[name].log.read_text()
        assert "ACCESS_REFUSED" not in said
        assert all(password not in said for password in secured.passwords.values())
