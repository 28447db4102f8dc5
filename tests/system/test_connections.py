"""No service connects to a node: what must be seen or done there, its agent sees or does."""

from pathlib import Path

import pytest

from slipway_chassis.tls import SERVICES
from slipway_platform.testing import User

pytestmark = pytest.mark.timeout(120)


def addresses_that(connections: Path, program: str) -> set[str]:
    """The IP addresses that this program's processes have connected to since the platform started."""
    lines = [line for path in connections.glob(f"{program}.*") for line in path.read_text().splitlines()]
    return {line.rpartition(":")[0] for line in lines}


def test_services_connect_to_endpoints_and_to_no_node(user: User, standing: str, connections: Path) -> None:
    nodes = {address for node in user.nodes(standing) for address in node["addresses"]}
    endpoint = str(user.get(f"/v1/clusters/{standing}")["endpoint"]).removeprefix("https://").partition(":")[0]
    reached = {service: addresses_that(connections, f"slipway_{service}") for service in SERVICES}
    assert {service: found & nodes for service, found in reached.items()} == {service: set() for service in SERVICES}
    # the recording is awake: services reached the endpoint, and its load balancer reached the controller behind it
    assert all(endpoint in reached[service] for service in ("provisioner", "monitor", "addon_manager"))
    assert addresses_that(connections, "slipway_sandbox") & nodes
