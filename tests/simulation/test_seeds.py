"""Seeds of the simulation: each is a story of a cluster under faults, and all invariants hold in each.

`SLIPWAY_SEEDS=1000 uv run pytest tests/simulation` runs more of them; `SLIPWAY_FIRST_SEED` begins elsewhere.
"""

import os

import pytest

from slipway_simulation.runs import run_seed, run_seeds

SEEDS = int(os.environ.get("SLIPWAY_SEEDS", "100"))
FIRST = int(os.environ.get("SLIPWAY_FIRST_SEED", "1"))
AT_ONCE = 25
"""Seeds in one test: enough to share beginnings, few enough that two workers end at about the same time."""

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(600)]


@pytest.mark.parametrize("first", range(FIRST, FIRST + SEEDS, AT_ONCE))
def test_all_invariants_hold_and_everything_comes_to_rest(first: int) -> None:
    for outcome in run_seeds(range(first, min(first + AT_ONCE, FIRST + SEEDS))):
        assert outcome.failure is None, outcome.report()


@pytest.mark.parametrize("seed", [20, 14], ids=["a whole life", "a branch"])
def test_a_seed_is_the_same_story_alone_and_among_others(seed: int) -> None:
    one = run_seed(seed)
    other = next(each for each in run_seeds([8, 14, 20]) if each.seed == seed)
    assert (one.simulated, one.messages, one.passed) == (other.simulated, other.messages, other.passed)
    assert one.kills > 0
