"""One platform for the whole folder: a broker of its own, the sandbox, five services, each a process.

Its machines' etcd and control planes are emulated, or real where SLIPWAY_TEST_BINARIES names a folder of programs: a
test that passes on one and not on the other has found a difference between them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.broker import PrivateBroker, rabbitmq_server
from slipway_platform.demo import sandbox_region
from slipway_platform.platform import Platform, running
from slipway_platform.testing import User
from tests.system.collector import Collector

SETTINGS = {
    # a killed service's work is free again soon, and an answer that never comes is not waited for long
    **{service: {"LEASE_FOR": "PT4S"} for service in SERVICES},
    "provisioner": {"LEASE_FOR": "PT4S", "CALL_TIMEOUT": "PT5S", "SETTLE_FOR": "PT10S"},
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is a system test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)
            # openstacksdk warns of its own calls
            item.add_marker(pytest.mark.filterwarnings("ignore:The _compute_attributes method"))


@pytest.fixture(scope="session")
def broker(amqp_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker | None]:
    """A RabbitMQ that tests may kill; None where only the shared one is."""
    if rabbitmq_server() is None:
        yield None
        return
    private = PrivateBroker(tmp_path_factory.mktemp("broker"))
    try:
        private.start()
        yield private
    finally:
        private.stop()


@pytest.fixture(scope="session")
def connections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file for each process of the platform: the addresses that it connected to."""
    return tmp_path_factory.mktemp("connections")


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the services send their traces."""
    with Collector() as receiving:
        yield receiving


@pytest.fixture(scope="session")
def the_platform(
    amqp_url: str,
    broker: PrivateBroker | None,
    connections: Path,
    collector: Collector,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Platform]:
    platform = Platform(
        tmp_path_factory.mktemp("platform"),
        broker.url if broker else amqp_url,
        sandbox_region(),
        settings=SETTINGS,
        binaries=tuple(map(Path, filter(None, [os.environ.get("SLIPWAY_TEST_BINARIES")]))),
    )
    recording = {
        "PYTHONPATH": str(Path(__file__).parent / "recording"),
        "SLIPWAY_TEST_CONNECTIONS": str(connections),
        "SLIPWAY_OTLP_ENDPOINT": collector.endpoint,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in recording.items():
            patch.setenv(name, value)
        with running(platform):
            yield platform


@pytest.fixture
def platform(the_platform: Platform) -> Iterator[Platform]:
    """The platform, all services ready; afterwards what a test broke is whole again."""
    yield the_platform
    httpx.delete(f"{the_platform.cloud_control}/faults", timeout=10).raise_for_status()
    for service in SERVICES:
        process = the_platform.processes[service]
        if not process.is_running or "SLIPWAY_CRASH_AT" in process.environment:
            process.kill()
            the_platform.start_service(service)
    the_platform.wait_ready()


@pytest.fixture(scope="session")
def standing(the_platform: Platform) -> Iterator[str]:
    """The name of a ready cluster of one etcd, one controller and one worker; each test leaves it like that."""
    somebody = User(the_platform)
    before = somebody.inventory()
    somebody.slipway("cluster", "create", "standing", *SMALL)
    yield "standing"
    somebody.slipway("cluster", "delete", "standing", "--yes")
    assert somebody.inventory() == before
    somebody.close()


SMALL = ("--etcd", "1", "--controllers", "1", "--workers", "1")


@pytest.fixture
def small() -> tuple[str, ...]:
    """The options of a small cluster."""
    return SMALL


@pytest.fixture
def arm(platform: Platform) -> Callable[..., None]:
    """Arms a fault of the sandbox's cloud; see its README."""

    def arm_fault(**fault: object) -> None:
        httpx.post(f"{platform.cloud_control}/faults", json=fault, timeout=10).raise_for_status()

    return arm_fault
