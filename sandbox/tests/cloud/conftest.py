"""A cloud on a stepping clock."""

from __future__ import annotations

import pytest

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.testing import SteppingClock, Tenant


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
def cloud(clock: SteppingClock) -> Cloud:
    return Cloud(clock.now, seed=7)


@pytest.fixture
def demo(cloud: Cloud) -> Tenant:
    return Tenant(cloud)


@pytest.fixture
def admin(cloud: Cloud) -> Tenant:
    return Tenant(cloud, "sandbox-admin")
