"""The clouds the conformance suite runs against: always the sandbox, a real one where it is named."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from slipway_sandbox.cloud.conformance import CloudUnderTest, real_cloud, sandbox_cloud


@pytest.fixture(scope="session")
def emulated() -> Iterator[CloudUnderTest]:
    with sandbox_cloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def real() -> Iterator[CloudUnderTest]:
    if not os.environ.get("SLIPWAY_TEST_CLOUD"):
        pytest.skip("no real cloud: set SLIPWAY_TEST_CLOUD to an entry of clouds.yaml")
    with real_cloud() as cloud:
        yield cloud


@pytest.fixture(params=["emulated", pytest.param("real", marks=pytest.mark.openstack)])
def cloud(request: pytest.FixtureRequest) -> Iterator[CloudUnderTest]:
    found: CloudUnderTest = request.getfixturevalue(request.param)
    try:
        yield found
    finally:
        found.clean_up()
