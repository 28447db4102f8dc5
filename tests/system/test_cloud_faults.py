"""A cloud that answers 409, 429 or 503, or does the work and never says so."""

from collections.abc import Callable

import httpx
import pytest

from slipway_platform.platform import Platform
from slipway_platform.testing import ServerHistory, User

pytestmark = pytest.mark.timeout(300)


def unspent(platform: Platform) -> list[dict[str, object]]:
    """Armed faults that have hit nothing yet."""
    faults = httpx.get(f"{platform.cloud_control}/faults", timeout=10).raise_for_status().json()["faults"]
    return [each for each in faults if each["hits"] < each["count"]]


def test_a_cloud_in_trouble_still_gives_one_server_for_each_node(
    platform: Platform, user: User, history: ServerHistory, small: tuple[str, ...], arm: Callable[..., None]
) -> None:
    before = user.inventory()
    arm(service="compute", method="POST", path="/servers$", effect="timeout-after")
    arm(service="compute", method="POST", path="/servers$", status=503)
    arm(service="compute", method="POST", path="/servers$", status=409)
    arm(service="network", method="POST", path="/ports$", status=429, retry_after=1)
    arm(service="network", method="POST", path="/ports$", effect="timeout-after")
    arm(service="network", method="POST", path="/security-groups$", status=503)
    arm(service="load-balancer", method="POST", path="/loadbalancers$", effect="timeout-after")
    user.slipway("cluster", "create", "troubled", *small, within=240)
    history.require_one_server_for_each_node(user, "troubled")
    assert not unspent(platform)
    arm(service="compute", method="DELETE", path="/servers/", status=409)
    arm(service="network", method="DELETE", path="/ports/", effect="timeout-after")
    user.slipway("cluster", "delete", "troubled", "--yes", within=120)
    assert not unspent(platform)
    assert user.inventory() == before
