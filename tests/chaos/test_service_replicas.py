"""One of two replicas dies in mid-work, or stands still until its work was taken: nothing is done twice."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipway_platform.platform import Platform
from slipway_platform.processes import Process
from slipway_platform.testing import until
from tests.chaos.life import SMALL, Lives

HAPPENS_WITHIN = 90.0


@contextmanager
def second_does_the_work(platform: Platform, service: str, armed: dict[str, str]) -> Iterator[Process]:
    """The second replica, armed, alone until it has come to its point; then the first one is started again."""
    platform.process(service, 2).kill()
    platform.process(service, 1).kill()
    second = platform.start_service(service, armed, replica=2)
    try:
        yield second
    finally:
        platform.start_service(service)


MID_WORK = [
    ("provisioner", "provisioner.create_server:after"),
    ("healer", "relay:after"),
]
IDS = [f"{service} at {point}" for service, point in MID_WORK]


@pytest.mark.parametrize(("service", "point"), MID_WORK, ids=IDS)
def test_what_a_killed_replica_left_the_other_ends(platform: Platform, lives: Lives, service: str, point: str) -> None:
    with second_does_the_work(platform, service, {"SLIPWAY_CRASH_AT": point}) as second:
        lives.begin(f"handed-{service}")
        until(lambda: not second.is_running, f"{service} dies at {point}", HAPPENS_WITHIN)
        assert second.exit_code == -9, second.tail()
    lives.until_ready(f"handed-{service}")
    lives.end(f"handed-{service}")


PAUSED = [
    ("provisioner", "provisioner.create_server:before"),
    ("healer", "relay:before"),
]


@pytest.mark.parametrize(("service", "point"), PAUSED, ids=[f"{service} at {point}" for service, point in PAUSED])
def test_what_a_paused_replica_does_late_is_not_done_twice(
    platform: Platform, lives: Lives, service: str, point: str
) -> None:
    with second_does_the_work(platform, service, {"SLIPWAY_PAUSE_AT": point}) as second:
        lives.begin(f"late-{service}")
        until(lambda: second.is_paused, f"{service} stops at {point}", HAPPENS_WITHIN)
    lives.until_ready(f"late-{service}")  # by the first one: the second still stands still
    assert second.is_paused
    second.resume()
    lives.scale(f"late-{service}", 2)
    lives.until_ready(f"late-{service}", SMALL + 1)
    lives.end(f"late-{service}")
