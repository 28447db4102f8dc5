"""A provisioner on a bench, with a database of its own: empty, or with a cluster of 1+1+1 that is up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slipway_chassis.inline_sqlite import an_inline_database
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.bench import Bench, Picture, a_bench, a_picture, up


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A provisioner with fakes around it."""
    database = await an_inline_database(tmp_path / "bench.db", metadata)
    yield a_bench(database)
    await database.close()


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Picture:
    """A cluster of 1+1+1 that came up, once for all tests; in a loop of its own, which ends with it."""
    return asyncio.run(_came_up(tmp_path_factory.mktemp("picture") / "bench.db"))


async def _came_up(file: Path) -> Picture:
    bench = a_bench(await an_inline_database(file, metadata))
    await up(bench)
    return await a_picture(bench, file)


@pytest.fixture
async def established(picture: Picture, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench of its own that goes on from there."""
    bench = await picture.bench_in(tmp_path)
    yield bench
    await bench.database.close()
