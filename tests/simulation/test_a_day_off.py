"""All services are away for a day: the machines go on without them, and nothing is replaced when they come back."""

import pytest

from slipway_simulation.runs import run_day_off

DAY = 24 * 3600.0

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]


def test_a_day_without_services_changes_nothing() -> None:
    outcome = run_day_off(seed=0, away_for=DAY)
    assert outcome.failure is None, outcome.report()
    assert outcome.simulated > DAY
