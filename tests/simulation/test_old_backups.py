"""A service's database goes back to an old backup: nothing is made twice, nothing is leaked, all come to rest again.

The api is not among them: it refuses to change a cluster whose newest desired state it has forgotten, and says so.
"""

import pytest

from slipway_simulation.runs import run_plot
from slipway_simulation.story import a_plot_of_an_old_backup

STORIES = [("provisioner", 2), ("provisioner", 8), ("healer", 1), ("monitor", 1), ("addon_manager", 1)]

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("service", "seed"), STORIES)
def test_an_old_backup_of_a_service_is_restored(service: str, seed: int) -> None:
    outcome = run_plot(a_plot_of_an_old_backup(service, seed), seed)
    assert outcome.failure is None, outcome.report()
