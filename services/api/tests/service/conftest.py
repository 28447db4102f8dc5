"""An api with fakes around it, and people who call it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from slipway_api.testing_platform import Platform, a_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """One replica."""
    async with a_platform(tmp_path) as there:
        yield there


@pytest.fixture
async def alice(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A member of the project shop."""
    async with platform.client(platform.identity.issue("alice", "shop")) as client:
        yield client


@pytest.fixture
async def bob(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A member of another project."""
    async with platform.client(platform.identity.issue("bob", "bank")) as client:
        yield client


@pytest.fixture
async def rita(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """A reader in the project shop."""
    async with platform.client(platform.identity.issue("rita", "shop", ["reader"])) as client:
        yield client
