"""Single nodes: what the cloud does to them, and what is done about it."""

from datetime import timedelta
from pathlib import Path

import pytest

from slipway_chassis.inline_sqlite import an_inline_database
from slipway_contracts.api import RootVolume
from slipway_contracts.healer import Wanted
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.values import Mover, Role
from slipway_provisioner.domain.model import Kind, ServerOrder
from slipway_provisioner.store import metadata
from slipway_provisioner.testing.bench import Bench, a_bench, up
from slipway_provisioner.testing.builders import a_cluster, a_node_spec, a_row, pool_changed, rows_of
from slipway_provisioner.testing.things import no_answer

WORKER, CONTROLLER = "blue-worker-1", "blue-controller-1"


async def worker(bench: Bench, **changes: object) -> None:
    """The healer's row of the one worker is now this, decided now."""
    await bench.table(Role.WORKER, a_row(Role.WORKER, now=bench.clock.now(), **changes))


def servers_ordered(bench: Bench) -> list[ServerOrder]:
    return [thing.order for thing in bench.cloud.of_kind(Kind.SERVER) if isinstance(thing.order, ServerOrder)]


def state(bench: Bench, name: str = WORKER) -> NodeState:
    return bench.nodes()[name]


async def test_servers_carry_the_operators_labels(tmp_path: Path) -> None:
    database = await an_inline_database(tmp_path / "bench.db", metadata)
    bench = a_bench(database, server_metadata={"cost-centre": "42"})
    await up(bench)
    carried = [order.metadata for order in servers_ordered(bench)]
    assert len(carried) == 3
    assert all(each["cost-centre"] == "42" and each["slipway_node"] for each in carried)
    await database.close()


async def test_a_server_is_made_of_what_its_row_says(bench: Bench) -> None:
    volume = RootVolume(size=40, type="ssd")
    await bench.want(a_cluster(workers=0))
    made_of = a_node_spec().model_copy(update={"root_volume": volume})
    await bench.table(Role.WORKER, a_row(Role.WORKER, now=bench.clock.now(), spec=made_of))
    await bench.pass_time(5)
    assert [order.root_volume for order in servers_ordered(bench)] == [volume]


@pytest.mark.parametrize(
    ("kind", "after"),
    [(Kind.PORT, False), (Kind.SERVER, True), (Kind.SERVER, False), (Kind.LOAD_BALANCER, True)],
    ids=["a port not made", "a server made", "a server not made", "a load balancer made"],
)
async def test_a_create_without_an_answer_makes_one_thing_only(bench: Bench, kind: Kind, after: bool) -> None:
    bench.cloud.fail(f"create_{kind.value}", no_answer(), after=after)
    await up(bench)
    names = [thing.order.name for thing in bench.cloud.of_kind(kind)]
    assert len(names) == {Kind.PORT: 4, Kind.SERVER: 3, Kind.LOAD_BALANCER: 1}[kind]


async def test_a_node_above_the_quota_waits_for_its_owner_and_goes_on(bench: Bench) -> None:
    bench.cloud.quota = 2
    spec = a_cluster()
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(5)
    (waiting,) = [node for node in bench.nodes().values() if node.phase is NodePhase.CREATING]
    assert waiting.waiting is not None
    assert (waiting.waiting.code, waiting.waiting.whose_move) == ("QuotaExceeded", Mover.USER)
    assert waiting.waiting.retry_at is not None
    bench.cloud.quota = 3
    await bench.pass_time(40)
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}


async def test_a_failed_build_is_told_with_evidence_and_made_anew_on_its_port(bench: Bench) -> None:
    bench.silent.add(CONTROLLER)
    spec = a_cluster()
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(1)
    bench.cloud.force(bench.cloud.server_of(CONTROLLER), ServerState.ERROR)
    await bench.pass_time(3)
    failed = state(bench, CONTROLLER)
    assert failed.phase is NodePhase.FAILED
    assert failed.cause is not None
    assert "No valid host" in failed.cause.message
    assert failed.evidence is not None
    assert failed.evidence.console
    assert "slipway.node.provisioning_failed.v1" in bench.types()
    bench.silent.clear()
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now(), incarnation=2))
    await bench.pass_time(15)
    again = state(bench, CONTROLLER)
    assert (again.phase, again.cause, again.addresses) == (NodePhase.PROVISIONED, None, failed.addresses)
    assert again.server_id != failed.server_id


async def test_a_vanished_server_is_gone_only_when_the_cloud_says_so(established: Bench) -> None:
    bench = established
    bench.cloud.vanish(bench.cloud.server_of(WORKER))
    bench.cloud.fail("answers", no_answer(), times=1000)
    await bench.pass_time(30)
    assert state(bench).server_state is not ServerState.GONE
    bench.cloud.failures.clear()
    await bench.pass_time(30)
    assert state(bench).server_state is ServerState.GONE
    assert state(bench).phase is NodePhase.PROVISIONED


async def test_a_list_that_does_not_come_makes_nobody_worse(established: Bench) -> None:
    bench = established
    before = bench.nodes()
    bench.cloud.fail("servers", no_answer(), times=1000)
    await bench.pass_time(60)
    assert bench.nodes() == before


async def test_a_worker_leaves_when_its_pods_have(established: Bench) -> None:
    bench = established
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    cluster.pods[WORKER], cluster.protected[WORKER] = 3, 1
    await worker(bench, wanted=Wanted.REMOVED)
    await bench.pass_time(30)
    assert state(bench).phase is NodePhase.DRAINING
    assert cluster.nodes[WORKER].unschedulable
    assert "PodDisruptionBudget" in str(state(bench).waiting)
    cluster.protected[WORKER] = 0
    await bench.pass_time(20)
    assert state(bench).phase is NodePhase.REMOVED
    assert WORKER not in cluster.nodes
    assert {thing.order.name for thing in bench.cloud.of_kind(Kind.SERVER)} == {"blue-etcd-1", CONTROLLER}
    assert len(bench.cloud.of_kind(Kind.PORT)) == 3


async def test_a_drain_has_a_limit(established: Bench) -> None:
    bench = established
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    cluster.pods[WORKER], cluster.protected[WORKER] = 1, 1
    await worker(bench, wanted=Wanted.REMOVED)
    await bench.pass_time(2)
    bench.clock.step(bench.settings.drain_limit)
    await bench.pass_time(10)
    assert state(bench).phase is NodePhase.REMOVED


async def test_a_drain_can_be_withdrawn(established: Bench) -> None:
    bench = established
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    cluster.pods[WORKER], cluster.protected[WORKER] = 1, 1
    await worker(bench, wanted=Wanted.REMOVED)
    await bench.pass_time(2)
    await worker(bench)
    await bench.pass_time(6)
    assert state(bench).phase is NodePhase.PROVISIONED
    assert not cluster.nodes[WORKER].unschedulable


async def test_a_dead_node_is_not_drained(established: Bench) -> None:
    bench = established
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    cluster.up = False
    await worker(bench, wanted=Wanted.REMOVED)
    await bench.pass_time(10)
    assert state(bench).phase is NodePhase.REMOVED
    cluster.up = True
    await bench.pass_time(70)
    assert WORKER not in cluster.nodes


async def test_a_removal_that_came_too_late_is_stale_until_it_is_decided_again(established: Bench) -> None:
    bench = established
    old = bench.clock.now() - timedelta(minutes=3)
    await bench.table(Role.WORKER, a_row(Role.WORKER, now=old, wanted=Wanted.REMOVED))
    await bench.pass_time(3)
    assert state(bench).stale
    assert state(bench).phase is NodePhase.PROVISIONED
    await worker(bench, wanted=Wanted.REMOVED)
    await bench.pass_time(10)
    assert state(bench).phase is NodePhase.REMOVED
    assert not state(bench).stale


async def test_a_reboot_happens_once(established: Bench) -> None:
    bench = established
    for _ in range(2):
        await worker(bench, reboots=1)
        await bench.pass_time(15)
    assert state(bench).phase is NodePhase.PROVISIONED
    assert bench.cloud.server_of(WORKER).reboots == 1


async def test_a_stopped_server_is_started_once(established: Bench) -> None:
    bench = established
    server = bench.cloud.server_of(WORKER)
    bench.cloud.force(server, ServerState.STOPPED)
    await bench.pass_time(20)
    assert state(bench).server_state is ServerState.ACTIVE
    bench.cloud.force(server, ServerState.STOPPED)
    await bench.pass_time(20)
    assert state(bench).server_state is ServerState.STOPPED
    assert bench.cloud.calls["start_server"] == 1


async def test_a_controller_gets_a_new_server_behind_the_same_address(established: Bench) -> None:
    bench = established
    before = state(bench, CONTROLLER)
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    (pool,) = bench.cloud.of_kind(Kind.POOL)
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now(), incarnation=2))
    await bench.settle()
    assert pool.members == []
    await bench.pass_time(75)
    after = state(bench, CONTROLLER)
    assert (after.phase, after.addresses, after.port_id) == (NodePhase.PROVISIONED, before.addresses, before.port_id)
    assert after.server_id != before.server_id
    assert [member.address for member in pool.members] == list(after.addresses)
    assert cluster.nodes.get(CONTROLLER) is None or cluster.nodes[CONTROLLER].provider_id == (
        f"openstack:///{after.server_id}"
    )


async def test_a_removed_node_never_comes_back(established: Bench) -> None:
    bench = established
    await worker(bench, wanted=Wanted.REMOVED, drain=False)
    await bench.pass_time(8)
    for late in ({}, {"incarnation": 5}, {"wanted": Wanted.REMOVED}):
        await worker(bench, **late)
        await bench.pass_time(2)
        assert state(bench).phase is NodePhase.REMOVED
        assert len(bench.cloud.of_kind(Kind.SERVER)) == 2


async def test_a_table_that_lags_behind_takes_nothing_back(established: Bench) -> None:
    bench = established
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now(), incarnation=2))
    await bench.pass_time(20)
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now()))
    await bench.pass_time(5)
    assert state(bench, CONTROLLER).row.incarnation == 2
    assert max(incarnation for _, incarnation in bench.cloud.servers_ever) == 2


async def test_a_table_before_its_cluster_waits_for_it(bench: Bench) -> None:
    rows = (a_row(Role.WORKER, now=bench.clock.now()),)
    await bench.service.receive(pool_changed(rows, bench.clock.now(), role=Role.WORKER))
    await bench.pass_time(1)
    assert bench.nodes() == {}
    await bench.want(a_cluster())
    await bench.pass_time(8)
    assert state(bench).server_id is not None


async def test_a_second_server_that_came_late_is_deleted(established: Bench) -> None:
    bench = established
    first = bench.cloud.server_of(WORKER)
    port = next(thing for thing in bench.cloud.of_kind(Kind.PORT) if thing.device_id == first.cloud_id)
    port.device_id = None
    second = await bench.cloud.create(first.project_id, first.order)
    await bench.pass_time(30)
    assert [thing.cloud_id for thing in bench.cloud.of_kind(Kind.SERVER) if thing.order.name == WORKER] == [
        first.cloud_id
    ]
    assert second != first.cloud_id


async def test_a_lost_port_is_made_again_with_the_next_server(established: Bench) -> None:
    bench = established
    before = state(bench, CONTROLLER)
    bench.cloud.vanish(bench.cloud.things[str(before.port_id)])
    await bench.table(Role.CONTROLLER, a_row(Role.CONTROLLER, now=bench.clock.now(), incarnation=2))
    await bench.pass_time(15)
    after = state(bench, CONTROLLER)
    assert after.phase is NodePhase.PROVISIONED
    assert after.port_id != before.port_id
    assert len(bench.cloud.of_kind(Kind.PORT)) == 4


async def test_a_kubelet_whose_node_object_is_gone_starts_anew(established: Bench) -> None:
    """As after a lone controller's replacement, where only its own API server could delete its earlier object."""
    bench = established
    cluster = bench.kubernetes.at(str(bench.infrastructure().endpoint))
    revision = state(bench, CONTROLLER).plan_revision
    del cluster.nodes[CONTROLLER]
    bench.clock.step(bench.settings.cluster_check_every * 2)
    await bench.pass_time(15)
    after = state(bench, CONTROLLER)
    assert after.phase is NodePhase.PROVISIONED
    assert after.plan_revision > revision
    assert CONTROLLER in cluster.nodes
    await bench.pass_time(70)
    assert state(bench, CONTROLLER).plan_revision == after.plan_revision
