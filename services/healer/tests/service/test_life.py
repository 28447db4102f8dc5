"""A cluster's life as the healer leads it: created, healed, scaled, deleted."""

from datetime import timedelta

from slipway_contracts.healer import ClusterHold, Hold, NodeTable, PoolAtTarget, PoolBelowTarget, PoolRemoved, Wanted
from slipway_contracts.operations import OperationState
from slipway_contracts.provisioner import InfrastructurePhase, NodePhase, ServerState
from slipway_contracts.resync import ClusterFactsAnnounced
from slipway_contracts.testing import a_cluster_spec, a_pool_spec
from slipway_contracts.values import Role
from slipway_healer.stage import Stage

ADDONS = ("rbac", "kube-proxy", "flannel", "coredns")


async def created(stage: Stage, workers: int = 3) -> None:
    """Bring a cluster of 3 + 1 + workers up to its end."""
    pools = [a_pool_spec(Role.ETCD, 3), a_pool_spec(Role.CONTROLLER, 1), a_pool_spec(Role.WORKER, workers)]
    await stage.spec(a_cluster_spec(pools=pools))
    await stage.listing()
    await stage.region()
    await stage.act()
    await stage.infrastructure()
    await stage.addons(*ADDONS)
    await stage.settle()


async def test_nodes_of_all_pools_are_named_at_once_when_the_list_is_known(stage: Stage) -> None:
    await stage.spec(a_cluster_spec())
    await stage.settle()
    assert [table.nodes for table in stage.tables()] == [(), (), ()]
    await stage.listing()
    await stage.settle()
    tables = stage.tables()
    assert {table.pool_id: len(table.nodes) for table in tables} == {
        "pool-etcd": 1,
        "pool-controller": 1,
        "pool-worker": 1,
    }
    names = [row.name for table in tables for row in table.nodes]
    assert all(name.startswith(f"demo-{role.value}-") for name, role in zip(names, Role, strict=True))
    assert isinstance([event for event in stage.said if isinstance(event.data, NodeTable)][-1], PoolBelowTarget)


async def test_a_create_operation_succeeds_when_nodes_infrastructure_and_addons_are_there(stage: Stage) -> None:
    await created(stage)
    operation = stage.operation("operation-1")
    assert operation.state is OperationState.SUCCEEDED
    assert operation.percent == 100
    assert {step.name for step in operation.steps} == {"infrastructure", "etcd", "controller", "worker", "addons"}
    percents = [event.data.percent for event in stage.said if event.subject == "operations/operation-1"]
    assert percents == sorted(percents)
    last = {event.subject: event for event in stage.said if isinstance(event.data, NodeTable)}
    assert all(isinstance(event, PoolAtTarget) for event in last.values())


async def test_a_removed_node_that_the_provisioner_has_again_is_removed_again(stage: Stage) -> None:
    """Its database went back to an old backup, and the node table of that time still wants the node."""
    await created(stage)
    before = {row.node_id: row for row in stage.rows("pool-worker")}
    pools = [a_pool_spec(Role.ETCD, 3), a_pool_spec(Role.CONTROLLER, 1), a_pool_spec(Role.WORKER, 2)]
    await stage.spec(a_cluster_spec(pools=pools, generation=2, operation_id="operation-2"))
    await stage.act()
    (gone,) = before.keys() - {row.node_id for row in stage.rows("pool-worker")}
    stage.clock.step(timedelta(seconds=1))
    await stage.node(gone, row=before[gone], phase=NodePhase.PROVISIONED, server_state=ServerState.ACTIVE)
    await stage.region()
    await stage.settle()
    assert sorted(row.wanted for row in stage.rows("pool-worker")) == [Wanted.PRESENT, Wanted.PRESENT, Wanted.REMOVED]
    await stage.act()
    assert len(stage.rows("pool-worker")) == 2


async def test_a_worker_whose_server_is_gone_is_replaced_by_a_new_node(stage: Stage) -> None:
    await created(stage)
    victim = stage.rows("pool-worker")[0]
    await stage.node(victim.node_id, server_state=ServerState.GONE)
    await stage.settle()
    rows = {row.node_id: row for row in stage.rows("pool-worker")}
    assert rows[victim.node_id].wanted is Wanted.REMOVED
    assert not rows[victim.node_id].drain
    (replacement,) = [row for row in rows.values() if row.replaces == victim.node_id]
    assert replacement.name != victim.name
    await stage.act()
    assert victim.node_id not in {row.node_id for row in stage.rows("pool-worker")}
    assert len(stage.rows("pool-worker")) == 3


async def test_scaling_makes_and_removes_nodes_and_ends_the_operation(stage: Stage) -> None:
    await created(stage)
    pools = [a_pool_spec(Role.ETCD, 3), a_pool_spec(Role.CONTROLLER, 1)]
    await stage.spec(a_cluster_spec(generation=2, pools=[*pools, a_pool_spec(Role.WORKER, 6)]))
    await stage.act()
    assert len(stage.rows("pool-worker")) == 6
    assert stage.operation("operation-2").kind.value == "scale_pool"
    assert stage.operation("operation-2").state is OperationState.SUCCEEDED
    named = stage.rows("pool-worker")[1].node_id
    shrunk = a_pool_spec(Role.WORKER, 4, victims=(named,))
    await stage.spec(a_cluster_spec(generation=3, pools=[*pools, shrunk]))
    await stage.settle()
    leaving = [row for row in stage.rows("pool-worker") if row.wanted is Wanted.REMOVED]
    assert len(leaving) == 2
    assert named in {row.node_id for row in leaving}
    assert all(row.drain for row in leaving)
    assert stage.operation("operation-3").state is OperationState.RUNNING
    await stage.act()
    assert stage.operation("operation-3").state is OperationState.SUCCEEDED


async def test_deletion_empties_the_tables_and_ends_with_the_provisioners_word(stage: Stage) -> None:
    await created(stage)
    await stage.spec(
        a_cluster_spec(generation=2, deletion_requested_at=stage.clock.now(), pools=[a_pool_spec(Role.WORKER, 3)])
    )
    await stage.settle()
    (hold,) = stage.newest(ClusterHold)
    assert hold.hold is Hold.DELETION
    assert stage.tables() == []
    removed = {event.subject for event in stage.said if isinstance(event, PoolRemoved)}
    assert removed == {f"clusters/c1/pools/pool-{role.value}" for role in Role}
    assert stage.operation("operation-2").state is OperationState.RUNNING
    await stage.infrastructure(InfrastructurePhase.DELETED)
    await stage.settle()
    assert stage.operation("operation-2").state is OperationState.SUCCEEDED
    words = len(stage.said)
    await stage.later(timedelta(minutes=5), step=timedelta(minutes=5))
    assert {type(event) for event in stage.said[words:]} <= {ClusterFactsAnnounced}
