"""Every crash point of a cluster's life, visited systematically: each is passed once with a process that dies there.

A clean run tells which points there are and how often each is passed. Side effects are struck at every passage, what
happens hundreds of times (commits, relaying, applying manifests) at some. Several points share a run, far apart.
"""

from collections.abc import Iterable
from functools import cache

from slipway_simulation.runs import Outcome, run_plot
from slipway_simulation.story import a_quiet_plot

SEED = 0
AT_EVERY_PASSAGE = 8
"""Up to so many passages each is struck; of more, so many are chosen, evenly."""

Point = tuple[str, int]


@cache
def clean_run() -> Outcome:
    """A life in which nobody dies."""
    return run_plot(a_quiet_plot(), SEED)


def points_of(passed: Iterable[tuple[str, int]]) -> list[Point]:
    """The passages to strike, in a fixed order, from how often each point was passed."""
    found: list[Point] = []
    for name, count in sorted(passed):
        chosen = range(1, count + 1)
        if count > AT_EVERY_PASSAGE:
            chosen = range(1, count + 1, count // AT_EVERY_PASSAGE)
        found += [(name, passage) for passage in chosen]
    return found


def tour(group: int, groups: int) -> list[Outcome]:
    """One of `groups` rounds that together strike every point.

    A process that dies at one point may thereby miss another, whose request was already on its way: what was missed is
    struck in a run of its own.
    """
    points = points_of(clean_run().passed.items())[group::groups]
    outcomes = [run_plot(a_quiet_plot(), SEED, kill_at=points)]
    outcomes += [run_plot(a_quiet_plot(), SEED, kill_at=[point]) for point in points if point not in outcomes[0].struck]
    return outcomes
