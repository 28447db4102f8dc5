"""A whole cluster, from its first event to the last."""

from datetime import timedelta

from slipway_contracts.provisioner import InfrastructurePhase, NodePhase
from slipway_contracts.values import Role
from slipway_provisioner.domain.model import Kind
from slipway_provisioner.testing.bench import Bench
from slipway_provisioner.testing.builders import a_cluster, rows_of


async def create(bench: Bench, **counts: int) -> None:
    spec = a_cluster(**counts)
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(20)


async def delete(bench: Bench) -> None:
    await bench.want(a_cluster(generation=2, deletion_requested_at=bench.clock.now()))
    await bench.pass_time(40)


async def test_a_cluster_comes_up(bench: Bench) -> None:
    await create(bench, etcd=3, controllers=2, workers=1)
    nodes = bench.nodes()
    assert {node.phase for node in nodes.values()} == {NodePhase.PROVISIONED}
    assert len(nodes) == 6
    assert all(node.percent == 100 and node.waiting is None for node in nodes.values())
    infrastructure = bench.infrastructure()
    assert infrastructure.phase is InfrastructurePhase.AVAILABLE
    assert infrastructure.endpoint is not None
    assert infrastructure.lowest_release == infrastructure.highest_release == "v1.36.3"
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    assert {member.address for member in pool.members} == {
        node.addresses[0] for node in nodes.values() if node.row.role is Role.CONTROLLER
    }
    cluster = bench.kubernetes.at(infrastructure.endpoint)
    assert cluster.bound
    assert "node-role.kubernetes.io/worker" in cluster.nodes["blue-worker-1"].labels


async def test_a_deleted_cluster_leaves_nothing(bench: Bench) -> None:
    await create(bench)
    assert bench.cloud.left()
    await delete(bench)
    assert bench.cloud.left() == []
    assert bench.infrastructure().phase is InfrastructurePhase.DELETED
    assert bench.types()[-1] == "slipway.cluster.deleted.v1"
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.REMOVED}


async def test_an_unknown_cluster_is_answered_with_an_empty_list_at_once(bench: Bench) -> None:
    await bench.want(a_cluster())
    await bench.settle()
    assert bench.types()[0] == "slipway.cluster.facts_announced.v1"
    bench.clock.step(timedelta(seconds=1))
