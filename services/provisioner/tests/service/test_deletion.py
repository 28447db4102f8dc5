"""How whole clusters go, also when something is in the way."""

from itertools import pairwise

import pytest

from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Mover, Role
from slipway_provisioner.domain.model import Kind, Mark, PortOrder
from slipway_provisioner.testing.bench import Bench
from slipway_provisioner.testing.builders import CLUSTER, PROJECT, a_cluster, a_row, rows_of
from slipway_provisioner.testing.things import no_answer


async def create(bench: Bench, seconds: float = 12) -> None:
    spec = a_cluster()
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(seconds)


async def delete(bench: Bench, seconds: float = 30) -> None:
    await bench.want(a_cluster(generation=2, deletion_requested_at=bench.clock.now()))
    await bench.pass_time(seconds)


@pytest.mark.parametrize("seconds", [0, 2], ids="after {} s".format)
async def test_a_cluster_that_is_still_being_made_goes_too(bench: Bench, seconds: float) -> None:
    await create(bench, seconds)
    await delete(bench)
    assert bench.cloud.left() == []
    assert bench.infrastructure().phase is InfrastructurePhase.DELETED


async def test_what_others_tagged_is_named_and_left_alone(established: Bench) -> None:
    bench = established
    foreign = await bench.cloud.create(PROJECT, PortOrder("theirs", Mark("not-in-the-ledger", CLUSTER), "network-1"))
    await delete(bench)
    infrastructure = bench.infrastructure()
    assert infrastructure.phase is InfrastructurePhase.DELETING
    (remainder,) = infrastructure.remaining
    assert remainder.cloud_id == foreign
    assert remainder.reason is not None
    assert remainder.reason.whose_move is Mover.USER
    assert bench.cloud.left() == ["port theirs"]
    await bench.cloud.delete(PROJECT, Kind.PORT, foreign)
    await bench.pass_time(70)
    assert bench.infrastructure().phase is InfrastructurePhase.DELETED


async def test_the_order_is_workers_controllers_etcd_endpoint(established: Bench) -> None:
    bench = established
    await bench.want(a_cluster(generation=2, deletion_requested_at=bench.clock.now()))
    seen = [{"worker", "controller", "etcd", "endpoint"}]
    for _ in range(40):
        await bench.pass_time(1)
        left = {thing.order.name.split("-")[1] for thing in bench.cloud.of_kind(Kind.SERVER)}
        left |= {"endpoint"} if bench.cloud.of_kind(Kind.LOAD_BALANCER) else set()
        if seen[-1] != left:
            seen.append(left)
    assert seen[-1] == set()
    assert all(later < earlier for earlier, later in pairwise(seen))
    assert {"controller", "etcd", "endpoint"} in seen
    assert {"endpoint"} in seen


async def test_what_cannot_go_is_named_with_its_reason(established: Bench) -> None:
    bench = established
    bench.cloud.fail("delete_load_balancer", no_answer(), times=1000)
    await delete(bench)
    infrastructure = bench.infrastructure()
    assert infrastructure.phase is InfrastructurePhase.DELETING
    assert "load_balancer" in {each.kind for each in infrastructure.remaining}
    assert infrastructure.waiting is not None
    bench.cloud.failures.clear()
    await bench.pass_time(30)
    assert bench.cloud.left() == []


async def test_a_dead_cluster_is_deleted_like_any_other(established: Bench) -> None:
    bench = established
    bench.kubernetes.at(str(bench.infrastructure().endpoint)).up = False
    await delete(bench)
    assert bench.cloud.left() == []


async def test_a_node_asked_for_after_the_deletion_is_not_made(established: Bench) -> None:
    bench = established
    await bench.want(a_cluster(generation=2, deletion_requested_at=bench.clock.now()))
    rows = (a_row(Role.WORKER, now=bench.clock.now()), a_row(Role.WORKER, 2, now=bench.clock.now()))
    await bench.table(Role.WORKER, *rows)
    await bench.pass_time(30)
    assert bench.cloud.left() == []
    assert "blue-worker-2" not in bench.nodes()


async def test_a_deleted_cluster_stays_deleted(established: Bench) -> None:
    bench = established
    await delete(bench)
    await bench.want(a_cluster(generation=3))
    for role in Role:
        await bench.table(role, *rows_of(a_cluster(), role, bench.clock.now()))
    await bench.pass_time(10)
    assert bench.cloud.left() == []
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.REMOVED}
