"""The disk of a service is full (SQLite): it says so, takes nothing that it cannot keep, goes on when there is room."""

import errno
import subprocess
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import httpx
import pytest

from slipway_chassis.tls import SERVICES
from slipway_chassis.topology import BusNames
from slipway_platform.broker import PrivateBroker
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import until
from tests.chaos.life import Lives

NOTICED_WITHIN = 60.0


class SmallDisk:
    """A file system of a few MiB in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room, not for one byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (1 << 16, 1):
                while _written(ballast, size):
                    pass

    def make_room(self) -> None:
        """Give back what was filled."""
        self._ballast.unlink()


def _written(file: FileIO, size: int) -> bool:
    try:
        return file.write(bytes(size)) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs is not allowed here: run as root, in a container with CAP_SYS_ADMIN")
    yield SmallDisk(folder)
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="module")
def platform(broker: PrivateBroker, disk: SmallDisk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """One replica of each service on SQLite; the provisioner's is on the small disk."""
    folder = tmp_path_factory.mktemp("platform")
    places = {service: folder / f"{service}.db" for service in SERVICES} | {"provisioner": disk.folder / "own.db"}
    with running(
        Platform(
            folder,
            broker.url,
            sandbox_region(),
            database_url=lambda service: f"sqlite+aiosqlite:///{places[service]}",
            settings={service: {"LEASE_FOR": "PT4S", "CONSUMERS_GONE_AFTER": "PT15S"} for service in SERVICES},
        )
    ) as on_sqlite:
        yield on_sqlite


def test_nothing_is_lost_while_there_is_no_room(
    platform: Platform, broker: PrivateBroker, disk: SmallDisk, lives: Lives
) -> None:
    lives.begin("full")
    lives.until_servers("full", 1)
    disk.fill()
    until(lambda: cause(platform) == "database or disk is full", "the provisioner says why", NOTICED_WITHIN)
    lives.scale("full", 2)
    disk.make_room()
    lives.until_ready("full", 4)
    platform.wait_ready()
    assert buried(platform, broker) == 0
    for service in SERVICES:
        platform.process(service).require_running()
    lives.end("full")


def cause(platform: Platform) -> str | None:
    """Why the provisioner's database is not available, as its /readyz says."""
    answer: dict[str, str] = httpx.get(f"{platform.address('provisioner')}/readyz", timeout=10).json()["causes"]
    return answer.get("database")


def buried(platform: Platform, broker: PrivateBroker) -> int:
    """How many messages the provisioner gave up."""
    queue = BusNames(platform.namespace).dead_letter_queue("provisioner", platform.region.name)
    return broker.messages()[queue]
