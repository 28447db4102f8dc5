"""A healer on a stepping clock and an SQLite file, and the stage around it."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slipway_chassis.clock import SteppingClock
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_healer.app import Parts, build_service
from slipway_healer.settings import Settings
from slipway_healer.stage import Stage
from slipway_healer.store import metadata


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def stage(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[Stage]:
    database = await an_inline_database(tmp_path / "healer.db", metadata)
    healer = build_service(Settings(region="tokyo"), Parts(clock=clock, database=database, random=random.Random(1)))
    await healer.start()
    yield Stage(healer, clock)
    await database.close()
