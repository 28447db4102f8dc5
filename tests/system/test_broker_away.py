"""RabbitMQ dies in the middle of a creation: services go on with what they know, and publish when it is back."""

import time

import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.broker import PrivateBroker
from slipway_platform.platform import Platform
from slipway_platform.testing import ServerHistory, User, until

pytestmark = pytest.mark.timeout(400)
AWAY_FOR = 30.0
"""Seconds; longer than any confirm or reconnect waits."""


def test_a_creation_survives_the_loss_of_the_broker(
    platform: Platform, broker: PrivateBroker | None, user: User, history: ServerHistory, small: tuple[str, ...]
) -> None:
    if broker is None:
        pytest.skip("no broker of our own to kill: install the package rabbitmq-server")
    before = user.inventory()
    user.slipway("cluster", "create", "cut", *small, "--no-wait")
    named = "server cut-"
    until(lambda: any(each.startswith(named) for each in user.inventory()), "the first server is made", 90)
    broker.kill()
    try:
        back_at = time.monotonic() + AWAY_FOR
        until(lambda: not any(platform.ready_check(each).holds() for each in SERVICES), "all services notice", 60)
        until(lambda: time.monotonic() > back_at, "the outage has lasted", AWAY_FOR + 1)
        assert user.get("/v1/clusters/cut")["state"] != "ready"
    finally:
        broker.start()
    until(lambda: user.get("/v1/clusters/cut")["state"] == "ready", "the cluster is ready", 240)
    platform.wait_ready()
    history.require_one_server_for_each_node(user, "cut")
    user.slipway("cluster", "delete", "cut", "--yes")
    assert user.inventory() == before
