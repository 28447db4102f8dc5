"""RabbitMQ breaks while clusters are created, scaled and deleted: services go on with what they know, then catch up."""

import time

import pytest

from slipway_chassis.topology import BusNames
from slipway_platform.broker import PrivateBroker
from slipway_platform.platform import Platform
from slipway_platform.testing import until
from tests.chaos.life import SMALL, Lives, every_replica, none_ready, require_none_ended

NOTICED_WITHIN = 60.0
PAST_HEARTBEAT = 20.0
"""Seconds without a sign; after 8 the broker gives a connection up, after 15 a service does."""
LONGER_THAN_DEAF = 25.0
"""Seconds; a service whose consumers stay away for 15 while the broker is there ends itself. Here it must not."""
SCALED = SMALL + 2


@pytest.fixture
def healthy_memory(broker: PrivateBroker) -> str:
    """How much of the machine's memory the broker may use before its alarm, as it is configured."""
    answer = broker.control("eval", "vm_memory_monitor:get_vm_memory_high_watermark().")
    return answer.strip()


def test_it_is_killed_while_a_pool_is_scaled(platform: Platform, broker: PrivateBroker, lives: Lives) -> None:
    lives.begin("cut")
    lives.until_ready("cut")
    lives.scale("cut", 3)
    lives.until_servers("cut", SMALL + 1)
    broker.kill()
    until(lambda: none_ready(platform), "all services notice", NOTICED_WITHIN)
    broker.start()
    lives.until_ready("cut", SCALED)
    require_none_ended(platform)
    lives.end("cut")


def test_it_stands_still_past_its_heartbeat(platform: Platform, broker: PrivateBroker, lives: Lives) -> None:
    lives.begin("frozen")
    lives.until_servers("frozen", 1)
    broker.process.pause()
    given_up_at = time.monotonic() + PAST_HEARTBEAT
    until(lambda: none_ready(platform), "all services notice", NOTICED_WITHIN)
    until(lambda: time.monotonic() > given_up_at, "both sides gave their connections up", NOTICED_WITHIN)
    broker.process.resume()
    lives.until_ready("frozen")
    require_none_ended(platform)
    lives.end("frozen")


def test_it_comes_back_with_an_empty_disk(platform: Platform, broker: PrivateBroker, lives: Lives) -> None:
    regional = [each for each in every_replica() if each[0] != "api"]
    for each in regional:
        platform.process(*each).pause()
    lives.begin("unheard")
    until(lambda: is_heard_by(platform, broker, "provisioner"), "the broker has what nobody takes", NOTICED_WITHIN)
    broker.kill()
    broker.forget()
    broker.start()
    for each in regional:
        platform.process(*each).resume()
    lives.until_ready("unheard")
    platform.wait_ready()
    require_none_ended(platform)
    lives.end("unheard")


def test_its_memory_alarm_blocks_all_publishers(
    platform: Platform, broker: PrivateBroker, healthy_memory: str, lives: Lives
) -> None:
    lives.begin("blocked")
    lives.until_servers("blocked", 1)
    broker.control("set_vm_memory_high_watermark", "0.0000001")
    try:
        until(lambda: is_blocking(broker), "a publisher is blocked", NOTICED_WITHIN)
        over_at = time.monotonic() + LONGER_THAN_DEAF
        until(lambda: time.monotonic() > over_at, "the alarm has lasted", NOTICED_WITHIN)
    finally:
        broker.control("set_vm_memory_high_watermark", healthy_memory)
    lives.until_ready("blocked")
    require_none_ended(platform)
    lives.end("blocked")


def is_heard_by(platform: Platform, broker: PrivateBroker, service: str) -> bool:
    """Whether the broker keeps something said of a cluster for a service."""
    queue = BusNames(platform.namespace).queue(service, platform.region.name, "cluster")
    return broker.messages()[queue] > 0


def is_blocking(broker: PrivateBroker) -> bool:
    """Whether a connection that published something since the alarm is read no more."""
    return "blocked" in broker.control("list_connections", "--quiet", "state").split()
