"""openstacksdk against a cloud in the same process: no socket, no waiting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from keystoneauth1 import exceptions
from openstack.connection import Connection

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.faults import Effect, Fault
from slipway_sandbox.cloud.testing import SteppingClock
from slipway_sandbox.cloud.transport import connect

# openstacksdk's resource classes warn of their own methods.
pytestmark = pytest.mark.filterwarnings("ignore:The _compute_attributes method is deprecated")


@pytest.fixture
def connection(cloud: Cloud, clock: SteppingClock) -> Iterator[Connection]:
    connected = connect(cloud, on_delay=lambda delay: clock.step(delay.total_seconds()), timeout=10)
    yield connected
    connected.close()


def test_a_server_is_made_watched_and_deleted(connection: Connection, clock: SteppingClock) -> None:
    network = connection.network.find_network("private", ignore_missing=False)
    port = connection.network.create_port(network_id=network.id, name="p", tags=[])
    server = connection.compute.create_server(
        name="s",
        flavor_id=connection.compute.find_flavor("m1.small", ignore_missing=False).id,
        image_id=next(connection.image.images(name="debian-12")).id,
        networks=[{"port": port.id}],
    )
    clock.step(5)
    assert connection.compute.get_server(server.id).status == "ACTIVE"
    connection.compute.delete_server(server.id)
    clock.step(5)
    assert list(connection.compute.servers()) == []
    assert connection.network.get_port(port.id).device_id == ""


def test_a_balancer_with_all_its_parts(connection: Connection, clock: SteppingClock) -> None:
    subnet = connection.network.find_subnet("private", ignore_missing=False)
    octavia = connection.load_balancer
    balancer = octavia.create_load_balancer(name="lb", vip_subnet_id=subnet.id, tags=["slipway"])
    clock.step(5)
    listener = octavia.create_listener(
        name="l", load_balancer_id=balancer.id, protocol="TCP", protocol_port=6443, timeout_client_data=600000
    )
    clock.step(5)
    pool = octavia.create_pool(name="p", listener_id=listener.id, protocol="TCP", lb_algorithm="ROUND_ROBIN")
    clock.step(5)
    octavia.create_health_monitor(
        pool_id=pool.id, type="HTTPS", delay=5, timeout=3, max_retries=2, url_path="/readyz", expected_codes="200"
    )
    clock.step(5)
    octavia.create_member(pool, address="127.77.0.99", protocol_port=6443)
    clock.step(5)
    assert [member.address for member in octavia.members(pool)] == ["127.77.0.99"]
    assert [item.id for item in octavia.load_balancers(tags="slipway")] == [balancer.id]
    octavia.delete_load_balancer(balancer.id, cascade=True)
    clock.step(5)
    assert list(octavia.load_balancers()) == []


def test_a_timeout_after_the_work_is_a_timeout_with_the_work_done(connection: Connection, cloud: Cloud) -> None:
    network = connection.network.find_network("private", ignore_missing=False)
    cloud.time_out_after("network", "POST", "/ports$")
    with pytest.raises(exceptions.ConnectTimeout):
        connection.network.post("/ports", json={"port": {"network_id": network.id, "name": "done"}})
    assert [port.name for port in connection.network.ports()] == ["done"]


def test_a_refused_connection_is_a_connection_error(connection: Connection, cloud: Cloud) -> None:
    assert list(connection.compute.servers()) == []
    cloud.arm(Fault(Effect.REFUSE, "compute"))
    with pytest.raises(exceptions.ConnectFailure):
        connection.compute.get("/servers")


@pytest.mark.parametrize(("seconds", "times_out"), [(3.0, False), (30.0, True)], ids=["patient", "too long"])
def test_a_delay_steps_the_clock_or_times_out(
    connection: Connection, cloud: Cloud, clock: SteppingClock, seconds: float, times_out: bool
) -> None:
    assert connection.compute.get("/servers").status_code == 200
    before = clock.now()
    cloud.arm(Fault(Effect.DELAY, "compute", seconds=seconds))
    if times_out:
        with pytest.raises(exceptions.ConnectTimeout):
            connection.compute.get("/servers")
    else:
        assert connection.compute.get("/servers").status_code == 200
    assert clock.now() - before == timedelta(seconds=min(seconds, 10))


def test_an_expired_token_is_renewed_by_the_session(connection: Connection, clock: SteppingClock) -> None:
    assert connection.compute.get("/servers").status_code == 200
    clock.step(2 * 3600)
    assert connection.compute.get("/servers").status_code == 200
