"""A process dies at every crash point of a cluster's life: nothing twice, nothing left, everything comes to rest."""

import pytest

from slipway_simulation.crash_tour import clean_run, points_of, tour

GROUPS = 20

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(600)]

SIDE_EFFECTS = {
    "provisioner": (
        *(f"create_{kind}" for kind in ("security_group", "server_group", "port", "server", "load_balancer")),
        *(f"create_{kind}" for kind in ("listener", "pool", "health_monitor")),
        *(f"delete_{kind}" for kind in ("security_group", "server_group", "port", "server", "load_balancer")),
        *("ensure_rules", "set_members", "ensure_bindings", "keep_node"),
    ),
    "addon_manager": ("apply",),
}


def test_a_clean_run_passes_every_side_effect_commit_and_relay() -> None:
    outcome = clean_run()
    assert outcome.failure is None, outcome.report()
    passed = {name for name, _ in points_of(outcome.passed.items())}
    for side in ("before", "after"):
        for service, effects in SIDE_EFFECTS.items():
            assert {f"{service}/{service}.{effect}:{side}" for effect in effects} <= passed
        for service in ("api", "provisioner", "healer", "monitor", "addon_manager"):
            assert {f"{service}/commit:{side}", f"{service}/relay:{side}"} <= passed


@pytest.mark.parametrize("group", range(GROUPS))
def test_a_process_that_dies_there_costs_only_time(group: int) -> None:
    wanted = set(points_of(clean_run().passed.items())[group::GROUPS])
    outcomes = tour(group, GROUPS)
    for outcome in outcomes:
        assert outcome.failure is None, outcome.report()
    struck = {point for outcome in outcomes for point in outcome.struck}
    assert wanted <= struck, f"never reached: {sorted(wanted - struck)}"
