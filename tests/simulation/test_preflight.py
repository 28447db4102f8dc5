"""What the api's preflight counts for a new cluster is what the provisioner makes for it."""

import pytest

from slipway_api.domain.offer import NEW_CLUSTER
from slipway_simulation.crash_tour import clean_run
from slipway_simulation.story import a_quiet_plot

pytestmark = [pytest.mark.simulation, pytest.mark.timeout(300)]

KINDS = {"ports": "port", "security_groups": "security_group", "server_groups": "server_group"}


def test_a_quiet_life_makes_what_the_preflight_counted() -> None:
    made = clean_run().passed
    nodes = sum(a_quiet_plot().counts.values())
    counted = {kind: count + (nodes if kind == "ports" else 0) for kind, count in NEW_CLUSTER.items()}
    assert counted == {kind: made[f"provisioner/provisioner.create_{KINDS[kind]}:after"] for kind in NEW_CLUSTER}
