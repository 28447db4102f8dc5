"""A refusal whose asker was killed before she heard it is no mistake; any other error that nobody hears is one."""

import asyncio
import gc
from pathlib import Path

import pytest

from slipway_api.domain.problems import Problem
from slipway_simulation.virtual_time import VirtualLoop
from slipway_simulation.world import World

pytestmark = pytest.mark.simulation


@pytest.mark.parametrize(
    ("error", "mistake"),
    [(Problem("cloud_unavailable", "The cloud does not answer."), False), (ValueError("a bug"), True)],
    ids=["a refusal", "a mistake"],
)
def test_an_error_that_nobody_hears(tmp_path: Path, error: Exception, mistake: bool) -> None:
    async def story() -> list[str]:
        world = World(0, tmp_path)
        await world.open()
        try:
            await world.pass_time(1)
            asyncio.get_running_loop().create_future().set_exception(error)
            gc.collect()
            return list(world.journal.violations)
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert bool(runner.run(story())) is mistake
