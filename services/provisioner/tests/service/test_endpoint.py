"""The endpoint: what somebody deletes of it is made again, and controllers come and go behind it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_chassis.clock import SteppingClock
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_chassis.regions import Endpoint, Reach, Region
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Mover, Role
from slipway_provisioner.app import build_endpoint
from slipway_provisioner.domain.model import FloatingIpOrder, Kind, ListenerOrder, PortOrder
from slipway_provisioner.domain.security_groups import RULES
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.bench import Bench, a_bench
from slipway_provisioner.testing.builders import a_cluster, a_region, a_row, rows_of
from slipway_provisioner.testing.cloud import FakeCloud

OUTSIDE = Endpoint(reach=Reach.FLOATING_IP, floating_network="public")
CONTROLLER = "blue-controller-1"
PARTS = (Kind.LOAD_BALANCER, Kind.LISTENER, Kind.POOL, Kind.HEALTH_MONITOR)


async def up(bench: Bench, **counts: int) -> None:
    spec = a_cluster(**counts)
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(20)
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}
    assert bench.infrastructure().phase is InfrastructurePhase.AVAILABLE


async def until_checked(bench: Bench) -> None:
    """Until the shared parts were looked for again, and what was missing was made."""
    bench.clock.step(bench.settings.parts_check_every)
    await bench.pass_time(25)


def addresses_behind(bench: Bench) -> list[str]:
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    return [member.address for member in pool.members]


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench in a region whose services reach endpoints by floating IPs."""
    database = await an_inline_database(tmp_path / "bench.db", metadata)
    yield a_bench(database, region=a_region(endpoint=OUTSIDE))
    await database.close()


async def test_controllers_are_reached_on_their_own_port_whatever_the_endpoints_is(tmp_path: Path) -> None:
    database = await an_inline_database(tmp_path / "bench.db", metadata)
    bench = a_bench(database, region=a_region(endpoint=Endpoint(port=443)))
    await up(bench, controllers=1, workers=1, etcd=1)
    assert str(bench.infrastructure().endpoint).endswith(":443")
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    (opened,) = {rule.first_port for rule in RULES if rule.to is Role.CONTROLLER and not rule.sources}
    assert [member.port for member in pool.members] == [opened]
    await database.close()


@pytest.mark.parametrize("kind", PARTS)
async def test_a_part_that_somebody_deleted_is_made_again_on_the_same_address(established: Bench, kind: Kind) -> None:
    bench = established
    before, members = bench.infrastructure().endpoint, addresses_behind(bench)
    (lost,) = bench.cloud.of_kind(kind)
    bench.cloud.vanish(lost)
    await until_checked(bench)
    for each in PARTS:
        assert len(bench.cloud.of_kind(each)) == 1, each
    assert addresses_behind(bench) == members != []
    (listener,) = bench.cloud.of_kind(Kind.LISTENER)
    if kind is Kind.LISTENER:
        assert isinstance(listener.order, ListenerOrder)
        assert listener.order.pool_id == bench.cloud.of_kind(Kind.POOL)[0].cloud_id
    assert bench.infrastructure().endpoint == before
    assert bench.infrastructure().waiting is None


async def test_a_lost_endpoint_port_is_made_again_with_its_address(established: Bench) -> None:
    bench = established
    before = bench.infrastructure().endpoint
    port = next(each for each in bench.cloud.of_kind(Kind.PORT) if "endpoint" in each.order.name)
    bench.cloud.vanish(port)
    await until_checked(bench)
    again = next(each for each in bench.cloud.of_kind(Kind.PORT) if "endpoint" in each.order.name)
    assert isinstance(again.order, PortOrder)
    assert again.cloud_id != port.cloud_id
    assert again.address == port.address
    (balancer,) = bench.cloud.of_kind(Kind.LOAD_BALANCER)
    assert getattr(balancer.order, "port_id", None) == again.cloud_id
    assert len(addresses_behind(bench)) == 1
    assert bench.infrastructure().endpoint == before


async def test_a_load_balancer_in_error_is_left_alone_once_it_serves(established: Bench) -> None:
    bench = established
    (balancer,) = bench.cloud.of_kind(Kind.LOAD_BALANCER)
    balancer.broken = True
    await until_checked(bench)
    waiting = bench.infrastructure().waiting
    assert waiting is not None
    assert (waiting.code, waiting.whose_move) == ("LoadBalancerBroken", Mover.OPERATOR)
    assert bench.cloud.of_kind(Kind.LOAD_BALANCER) == [balancer]
    balancer.broken = False
    await bench.pass_time(31)
    assert bench.infrastructure().waiting is None


async def test_a_load_balancer_that_came_up_broken_is_made_again(bench: Bench) -> None:
    await bench.want(a_cluster())
    await bench.pass_time(1)
    (broken,) = bench.cloud.of_kind(Kind.LOAD_BALANCER)
    broken.broken = True
    await bench.pass_time(20)
    (balancer,) = bench.cloud.of_kind(Kind.LOAD_BALANCER)
    assert balancer is not broken
    assert bench.infrastructure().phase is InfrastructurePhase.READY


async def test_security_group_rules_that_somebody_deleted_are_there_again(established: Bench) -> None:
    bench = established
    groups = bench.cloud.of_kind(Kind.SECURITY_GROUP)
    before = [list(group.rules) for group in groups]
    for group in groups:
        group.rules = []
    await until_checked(bench)
    assert [group.rules for group in groups] == before


async def test_a_member_that_somebody_took_out_is_put_back(established: Bench) -> None:
    bench = established
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    before, pool.members = pool.members, []
    await until_checked(bench)
    assert pool.members == before


async def test_a_controller_drains_before_its_server_goes_and_is_put_back_when_it_is_ready(bench: Bench) -> None:
    await up(bench, controllers=2)
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    server = bench.cloud.server_of(CONTROLLER)
    await bench.table(
        Role.CONTROLLER,
        a_row(Role.CONTROLLER, 1, now=bench.clock.now(), incarnation=2),
        a_row(Role.CONTROLLER, 2, now=bench.clock.now()),
    )
    await bench.pass_time(5)
    assert sorted(member.weight for member in pool.members) == [0, 1]
    assert server in bench.cloud.of_kind(Kind.SERVER)
    waiting = bench.nodes()[CONTROLLER].waiting
    assert waiting is not None
    assert waiting.code == "WaitingForLoadBalancer"
    bench.clock.step(bench.settings.endpoint_drain_limit - timedelta(seconds=7))
    await bench.pass_time(4)
    assert [member.weight for member in pool.members] == [1]
    await bench.pass_time(20)
    assert server not in bench.cloud.of_kind(Kind.SERVER)
    assert [member.weight for member in pool.members] == [1, 1]


async def test_a_controller_whose_check_fails_does_not_drain(bench: Bench) -> None:
    await up(bench, controllers=2)
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    pool.failing = {"node-controller-1"}
    server = bench.cloud.server_of(CONTROLLER)
    await bench.table(
        Role.CONTROLLER,
        a_row(Role.CONTROLLER, 1, now=bench.clock.now(), incarnation=2),
        a_row(Role.CONTROLLER, 2, now=bench.clock.now()),
    )
    await bench.pass_time(6)
    assert server not in bench.cloud.of_kind(Kind.SERVER)


async def test_services_and_users_come_by_the_floating_ip_and_nodes_do_not(outside: Bench) -> None:
    bench = outside
    await up(bench)
    (floating,) = bench.cloud.of_kind(Kind.FLOATING_IP)
    port = next(each for each in bench.cloud.of_kind(Kind.PORT) if "endpoint" in each.order.name)
    assert isinstance(floating.order, FloatingIpOrder)
    assert floating.order.network_id == "id-of-public"
    assert floating.device_id == port.cloud_id
    assert bench.infrastructure().endpoint == f"https://{floating.address}:6443"
    assert list(bench.kubernetes.clusters) == [f"https://{floating.address}:6443"]


async def test_a_floating_ip_that_was_let_go_leads_to_the_endpoint_again(outside: Bench) -> None:
    bench = outside
    await up(bench)
    (floating,) = bench.cloud.of_kind(Kind.FLOATING_IP)
    before, floating.device_id = floating.device_id, None
    await until_checked(bench)
    assert floating.device_id == before


async def test_a_deleted_floating_ip_is_replaced_and_the_new_one_told(outside: Bench) -> None:
    bench = outside
    await up(bench)
    (floating,) = bench.cloud.of_kind(Kind.FLOATING_IP)
    revision = bench.nodes()[CONTROLLER].plan_revision
    bench.cloud.vanish(floating)
    await until_checked(bench)
    (again,) = bench.cloud.of_kind(Kind.FLOATING_IP)
    assert again.address != floating.address
    assert bench.infrastructure().endpoint == f"https://{again.address}:6443"
    assert bench.nodes()[CONTROLLER].plan_revision > revision
    bench.kubernetes.at(f"https://{floating.address}:6443").up = False
    bench.clock.step(bench.settings.cluster_check_every)
    await bench.pass_time(5)
    assert bench.infrastructure().waiting is None, "the provisioner itself comes by the new one"


async def test_nothing_is_left_of_a_cluster_with_a_floating_ip(outside: Bench) -> None:
    bench = outside
    await up(bench)
    await bench.want(a_cluster(generation=2, deletion_requested_at=bench.clock.now()))
    await bench.pass_time(40)
    assert bench.cloud.left() == []
    assert bench.infrastructure().phase is InfrastructurePhase.DELETED


def test_a_kind_of_endpoint_that_cannot_be_made_is_refused() -> None:
    region: Region = a_region(endpoint=Endpoint().model_copy(update={"kind": "router"}))
    with pytest.raises(ValueError, match="cannot make endpoints of the kind router"):
        build_endpoint(region, FakeCloud(SteppingClock()))
