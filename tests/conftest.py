"""What the tests with a platform share; each folder has a fixture `platform` of its own."""

from collections.abc import Iterator

import pytest

from slipway_platform.platform import Platform
from slipway_platform.testing import ServerHistory, User


@pytest.fixture
def user(platform: Platform) -> Iterator[User]:
    """Somebody with a project in the platform's cloud."""
    somebody = User(platform)
    yield somebody
    somebody.close()


@pytest.fixture
def history(platform: Platform) -> Iterator[ServerHistory]:
    """What the cloud remembers of servers."""
    remembered = ServerHistory(platform)
    yield remembered
    remembered.close()
