"""A member of etcd dies, with other faults around: its place is given to another one, and etcd keeps its majority."""

import pytest

from slipway_simulation.runs import run_plot
from slipway_simulation.story import a_plot_of_lost_members

SEEDS = 6

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
def test_a_lost_member_is_replaced_and_the_majority_kept(seed: int) -> None:
    outcome = run_plot(a_plot_of_lost_members(seed), seed)
    assert outcome.failure is None, outcome.report()
