"""Runs seeds, one or many, and says what came of them."""

import asyncio
import gc
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from slipway_simulation.branching import in_a_copy
from slipway_simulation.journal import Violated
from slipway_simulation.story import Plot, a_quiet_plot, grow_up, have_a_day_off, live, live_on, plot_of
from slipway_simulation.virtual_time import VirtualLoop
from slipway_simulation.world import World

T = TypeVar("T")

LAST_STEPS = 80
BEGINNING = 0
"""The seed of what stories of running clusters have in common."""
AT_ONCE = 25
"""Seeds that a process is given together, so that they share beginnings."""


@dataclass(frozen=True)
class Outcome:
    """What became of one seed."""

    seed: int
    plot: str
    failure: str | None
    simulated: float
    """Seconds on the virtual clock."""
    took: float
    """Seconds of processor time."""
    kills: int
    messages: int
    passed: dict[str, int] = field(default_factory=dict, repr=False)
    """How often each crash point was passed."""
    struck: frozenset[tuple[str, int]] = frozenset()
    """At which of them a process died."""
    last_steps: tuple[str, ...] = field(default=(), repr=False)

    def report(self) -> str:
        """For a reader: what failed, what happened before, how to see it again."""
        if self.failure is None:
            return f"seed {self.seed}: well ({self.plot})"
        steps = "\n".join(self.last_steps)
        again = f"python -m slipway_simulation --seed {self.seed} -v"
        return f"{steps}\n\nseed {self.seed} FAILED ({self.plot})\n{self.failure}\nAgain: {again}"


def run_seed(seed: int, *, echo: bool = False) -> Outcome:
    """One seed from beginning to end."""
    return next(run_seeds([seed], echo=echo))


def run_seeds(seeds: Iterable[int], *, echo: bool = False) -> Iterator[Outcome]:
    """Several seeds in this process; those that begin alike share their beginning."""
    for plots in _alike(seeds):
        if next(iter(plots.values())).runs_already:
            yield from _in_a_world(partial(_run_branches, plots, echo))
        else:
            yield from (run_plot(plot, seed, echo=echo) for seed, plot in plots.items())


def run_plot(
    plot: Plot, seed: int, *, echo: bool = False, kill_at: Iterable[tuple[str, int]] = (), **parts: Any
) -> Outcome:
    """One story from beginning to end; `kill_at` are crash points and their passages at which the process dies."""
    return _in_a_world(partial(_run, plot, seed, echo, frozenset(kill_at), parts))


def run_day_off(seed: int, away_for: float) -> Outcome:
    """The story of a quiet cluster whose services are all away for so many seconds."""

    async def story(folder: Path) -> Outcome:
        began = time.process_time()
        world, plot = World(seed, folder), a_quiet_plot()
        await world.open()
        try:
            return await _told(world, plot, seed, have_a_day_off(world, plot, away_for), began)
        finally:
            await world.close()

    return _in_a_world(story)


def _in_a_world(story: Callable[[Path], Coroutine[Any, Any, T]]) -> T:
    """Run it on a fresh loop, with a folder that goes afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="slipway-simulation-", dir=_fast_folder()))
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(story(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _run(
    plot: Plot, seed: int, echo: bool, kill_at: frozenset[tuple[str, int]], parts: dict[str, Any], folder: Path
) -> Outcome:
    began = time.process_time()
    world = World(seed, folder, echo, **parts)
    world.killer.targets = kill_at
    await world.open()
    try:
        return await _told(world, plot, seed, live(world, plot), began)
    finally:
        await world.close()


async def _run_branches(plots: dict[int, Plot], echo: bool, folder: Path) -> list[Outcome]:
    world = World(BEGINNING, folder, echo)
    await world.open()
    try:
        await grow_up(world, next(iter(plots.values())).counts)
        return [await in_a_copy(partial(_run_branch, world, plot, seed)) for seed, plot in plots.items()]
    finally:
        await world.close()


async def _run_branch(world: World, plot: Plot, seed: int) -> Outcome:
    world.ground.branch(seed)
    return await _told(world, plot, seed, live_on(world, plot), time.process_time())


async def _told(world: World, plot: Plot, seed: int, story: Awaitable[None], began: float) -> Outcome:
    """What came of the story; `began` is the processor's time before it."""
    described, failure = plot.describe(), None
    since, delivered = asyncio.get_running_loop().time(), world.bus.delivered
    try:
        await story
    except Violated as violated:
        failure = str(violated)
    return Outcome(
        seed=seed,
        plot=described,
        failure=failure,
        simulated=asyncio.get_running_loop().time() - since,
        took=time.process_time() - began,
        kills=world.killer.kills,
        messages=world.bus.delivered - delivered,
        passed=dict(world.killer.passed),
        struck=frozenset(world.killer.struck),
        last_steps=tuple(list(world.journal.lines)[-LAST_STEPS:]) if failure else (),
    )


def run_many(seeds: Iterable[int], processes: int | None = None) -> Iterator[Outcome]:
    """Many seeds on all cores, as they end."""
    context = multiprocessing.get_context("spawn")
    batches = [
        list(plots)[first : first + AT_ONCE] for plots in _alike(seeds) for first in range(0, len(plots), AT_ONCE)
    ]
    with context.Pool(processes) as pool:
        for outcomes in pool.imap_unordered(_run_batch, batches):
            yield from outcomes


def _run_batch(seeds: list[int]) -> list[Outcome]:
    return list(run_seeds(seeds))


def _alike(seeds: Iterable[int]) -> list[dict[int, Plot]]:
    """The seeds with their plots, those together that begin alike; whole lives, which take longest, come first."""
    groups: dict[tuple[bool, str], dict[int, Plot]] = {}
    for seed in seeds:
        plot = plot_of(seed)
        groups.setdefault((plot.runs_already, str(plot.counts)), {})[seed] = plot
    return [groups[key] for key in sorted(groups)]


def _fast_folder() -> str | None:
    """Memory, where the machine has a folder of it."""
    memory = Path("/dev/shm")  # noqa: S108
    return str(memory) if memory.is_dir() else None
