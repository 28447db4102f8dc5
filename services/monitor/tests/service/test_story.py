"""The life of a cluster as the monitor tells it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_contracts.agent import UnitState
from slipway_contracts.monitor import (
    AlertName,
    AlertRaised,
    AlertResolved,
    ClusterForgotten,
    ClusterRecovered,
    ClusterUnhealthy,
    NodeForgotten,
    NodeReady,
    NodeRecovered,
    NodeUnhealthy,
    RegionObserved,
    Verdict,
    WitnessName,
)
from slipway_contracts.provisioner import ClusterDeleted, InfrastructurePhase, NodePhase, NodeRemoved, ServerState
from slipway_contracts.values import Role
from slipway_monitor.testing import Stage, a_node, a_row, a_spec, a_stage, an_infrastructure, unreachable

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as made:
        yield made


async def a_cluster(stage: Stage, workers: int = 3) -> None:
    """One etcd, one controller and some workers, all ready."""
    await stage.tell_cluster(a_spec(), an_infrastructure())
    now = stage.clock.now()
    nodes = [a_node("e1", Role.ETCD, now=now), a_node("k1", Role.CONTROLLER, now=now)]
    await stage.bring_up(*nodes, *(a_node(f"w{number}", now=now) for number in range(1, workers + 1)))


async def test_every_node_of_a_new_cluster_becomes_ready_once(stage: Stage) -> None:
    await a_cluster(stage)
    await stage.drift(15 * SECOND)
    assert sorted(event.data.node_id for event in stage.said(NodeReady)) == ["e1", "k1", "w1", "w2", "w3"]
    assert stage.said(NodeUnhealthy, NodeRecovered, ClusterUnhealthy) == []
    assert stage.said(ClusterRecovered)[-1].data.nodes_ready == 5


async def test_a_well_cluster_causes_no_event_but_the_regions_rounds(stage: Stage) -> None:
    await a_cluster(stage)
    await stage.run(15 * SECOND)
    with stage.hearing() as heard:
        await stage.run(MINUTE)
    assert {type(event) for event in heard} == {RegionObserved}
    assert 5 <= len(heard) <= 7
    assert heard[-1].data.trusted
    assert heard[-1].data.clusters_unseen == ()


async def test_a_dead_worker_has_two_witnesses_within_a_minute_and_a_fresh_look_every_ten_seconds(stage: Stage) -> None:
    await a_cluster(stage)
    stage.clusters.of("c1").running.discard("node-w1")
    del stage.agents["w1"]
    await stage.run(70 * SECOND)
    stage.servers.put("server-w1", status="SHUTOFF")
    with stage.hearing(NodeUnhealthy) as heard:
        await stage.run(30 * SECOND)
    assert {event.data.node_id for event in heard} == {"w1"}
    assert 2 <= len(heard) <= 5
    health = heard[-1].data
    assert {each.name: each.verdict for each in health.witnesses} == {
        WitnessName.KUBERNETES: Verdict.UNHEALTHY,
        WitnessName.SERVER: Verdict.UNHEALTHY,
        WitnessName.AGENT: Verdict.UNHEALTHY,
    }
    assert all(stage.clock.now() - each.at < 30 * SECOND for each in health.witnesses)
    assert {event.data.since for event in stage.said(NodeUnhealthy)} == {health.since}


async def test_a_lease_is_dead_after_forty_seconds_and_not_a_poll_later(stage: Stage) -> None:
    await a_cluster(stage)
    last = stage.clusters.of("c1").renewed["node-w1"]
    stage.clusters.of("c1").running.discard("node-w1")
    await stage.run(MINUTE)
    first = stage.said(NodeUnhealthy)[0]
    assert timedelta(seconds=40) < first.time - last <= timedelta(seconds=42)


async def test_a_node_that_comes_back_has_recovered(stage: Stage) -> None:
    await a_cluster(stage)
    stage.clusters.of("c1").running.discard("node-w1")
    await stage.drift(MINUTE)
    stage.clusters.of("c1").running.add("node-w1")
    with stage.hearing(NodeRecovered, NodeReady) as heard:
        await stage.drift(20 * SECOND)
    assert [(type(event), event.data.node_id) for event in heard] == [(NodeRecovered, "w1")]


async def test_an_etcd_member_whose_unit_failed_is_unhealthy_at_once(stage: Stage) -> None:
    await a_cluster(stage)
    del stage.agents["e1"]
    with stage.hearing(NodeUnhealthy) as heard:
        await stage.push("e1", unit=UnitState.FAILED)
        await stage.settle()
    assert [event.data.witnesses[-1].saw for event in heard] == ["kubelet.service is failed"]


async def test_an_api_that_does_not_answer_makes_the_cluster_unhealthy_and_no_node(stage: Stage) -> None:
    await a_cluster(stage)
    stage.clusters.of("c1").failure = unreachable()
    with stage.hearing(NodeUnhealthy, ClusterUnhealthy) as heard:
        await stage.drift(MINUTE)
    assert [type(event) for event in heard] == [ClusterUnhealthy]
    assert heard[0].data.reasons[0].code == "ApiUnreachable"
    assert stage.said(RegionObserved)[-1].data.clusters_unseen == ("c1",)
    stage.clusters.of("c1").failure = None
    with stage.hearing(ClusterRecovered, NodeRecovered) as heard:
        await stage.drift(20 * SECOND)
    assert [type(event) for event in heard] == [ClusterRecovered]
    assert stage.said(RegionObserved)[-1].data.clusters_unseen == ()


async def test_an_agent_that_falls_silent_alone_is_said_with_its_node_still_ready(stage: Stage) -> None:
    await a_cluster(stage)
    del stage.agents["w1"]
    await stage.drift(75 * SECOND)
    health = stage.said(NodeUnhealthy)[-1].data
    assert {each.name: each.verdict for each in health.witnesses} == {
        WitnessName.KUBERNETES: Verdict.HEALTHY,
        WitnessName.SERVER: Verdict.HEALTHY,
        WitnessName.AGENT: Verdict.UNHEALTHY,
    }


async def test_all_agents_silent_is_unknown_not_unhealthy(stage: Stage) -> None:
    await a_cluster(stage)
    stage.agents.clear()
    with stage.hearing(NodeUnhealthy) as heard:
        await stage.run(75 * SECOND)
    assert heard == []


async def test_a_new_incarnation_is_ready_again_only_by_its_own_witnesses(stage: Stage) -> None:
    await a_cluster(stage)
    row = a_row("k1", Role.CONTROLLER, incarnation=2)
    removing = a_node("k1", Role.CONTROLLER, row=row, phase=NodePhase.REPLACING)
    await stage.tell_node(removing)
    stage.clusters.of("c1").running.discard("node-k1")
    del stage.agents["k1"]
    with stage.hearing(NodeReady, NodeUnhealthy) as heard:
        await stage.drift(20 * SECOND)
        now = stage.clock.now()
        made = a_node("k1", Role.CONTROLLER, row=row, now=now, server_id="server-k1-2", phase=NodePhase.CONFIGURING)
        stage.servers.put("server-k1-2", cluster_id="c1", node_id="k1")
        await stage.tell_node(made.model_copy(update={"joined_at": None}))
        await stage.drift(30 * SECOND)
    assert heard == []
    with stage.hearing(NodeReady, NodeUnhealthy, NodeRecovered) as heard:
        await stage.bring_up(made.model_copy(update={"joined_at": stage.clock.now()}))
        await stage.run(SECOND)
    assert [(type(event), event.data.incarnation) for event in heard] == [(NodeReady, 2)]


async def test_many_nodes_gone_bad_make_the_region_suspect_until_half_an_hour_later(stage: Stage) -> None:
    await a_cluster(stage, workers=10)
    for number in range(1, 6):
        stage.clusters.of("c1").running.discard(f"node-w{number}")
    await stage.drift(MINUTE)
    trust = stage.said(RegionObserved)[-1].data
    assert not trust.trusted
    assert trust.suspicions[0].code == "MassLoss"
    await stage.skip(28 * MINUTE)
    assert not stage.said(RegionObserved)[-1].data.trusted
    await stage.skip(2 * MINUTE)
    assert stage.said(RegionObserved)[-1].data.trusted


async def test_nodes_that_are_positively_gone_do_not_make_the_region_suspect(stage: Stage) -> None:
    await a_cluster(stage, workers=10)
    for number in range(1, 6):
        stage.clusters.of("c1").running.discard(f"node-w{number}")
        stage.servers.put(f"server-w{number}", status="DELETED")
        await stage.tell_node(a_node(f"w{number}", server_state=ServerState.GONE))
    await stage.drift(MINUTE)
    assert {event.data.node_id for event in stage.said(NodeUnhealthy)} == {f"w{number}" for number in range(1, 6)}
    assert all(event.data.trusted for event in stage.said(RegionObserved))


async def test_a_cloud_that_does_not_answer_is_suspect_and_rounds_go_on(stage: Stage) -> None:
    await a_cluster(stage)
    stage.servers.failure = unreachable("CloudUnreachable")
    with stage.hearing(RegionObserved, NodeUnhealthy) as heard:
        await stage.run(30 * SECOND)
    assert len(heard) >= 2
    assert {event.data.suspicions[0].code for event in heard} == {"CloudUnreachable"}
    stage.servers.failure = None
    await stage.run(11 * SECOND)
    assert stage.said(RegionObserved)[-1].data.trusted


async def test_a_node_that_is_not_made_in_time_raises_an_alert_until_it_is_ready(stage: Stage) -> None:
    await stage.tell_cluster(a_spec())
    slow = a_node("w1", phase=NodePhase.CREATING, server_id=None, active_at=None, joined_at=None)
    await stage.tell_node(slow)
    await stage.skip(9 * MINUTE)
    assert stage.said(AlertRaised) == []
    await stage.skip(2 * MINUTE)
    assert [event.data.name for event in stage.said(AlertRaised)] == [AlertName.LONG_NODE_PROVISIONING]
    await stage.tell_cluster(a_spec(), an_infrastructure())
    await stage.bring_up(a_node("w1", now=stage.clock.now()))
    assert [event.data.alert_id for event in stage.said(AlertResolved)] == [
        event.data.alert_id for event in stage.said(AlertRaised)
    ]


async def test_a_cluster_that_is_not_made_in_time_raises_one_alert(stage: Stage) -> None:
    await stage.tell_cluster(a_spec())
    await stage.skip(19 * MINUTE)
    assert stage.said(AlertRaised) == []
    for _ in range(3):
        await stage.skip(2 * MINUTE)
    assert [event.data.name for event in stage.said(AlertRaised)] == [AlertName.LONG_CLUSTER_PROVISIONING]


async def test_what_is_unhealthy_for_five_minutes_raises_an_alert(stage: Stage) -> None:
    await a_cluster(stage)
    stage.clusters.of("c1").running.discard("node-w1")
    await stage.drift(MINUTE)
    assert stage.said(AlertRaised) == []
    for _ in range(3):
        await stage.skip(2 * MINUTE)
    alerts = [(event.data.name, event.data.node_id) for event in stage.said(AlertRaised)]
    assert alerts == [(AlertName.UNHEALTHY_NODE_CONDITION, "w1")]


async def test_a_removed_node_is_forgotten_and_is_no_trouble_on_its_way_out(stage: Stage) -> None:
    await a_cluster(stage)
    await stage.tell_node(a_node("w1", phase=NodePhase.REMOVING))
    stage.clusters.of("c1").running.discard("node-w1")
    stage.servers.put("server-w1", status="DELETED")
    del stage.agents["w1"]
    await stage.drift(65 * SECOND)
    await stage.tell_node(a_node("w1", phase=NodePhase.REMOVED), NodeRemoved)
    await stage.drift(SECOND)
    assert stage.said(NodeUnhealthy) == []
    assert [event.data.node_id for event in stage.said(NodeForgotten)] == ["w1"]
    assert stage.said(ClusterRecovered)[-1].data.nodes_total == 4
    assert stage.api.heard.latest("w1") is None, "what its agent said last is not kept in memory for ever"
    assert stage.api.heard.latest("w2") is not None


async def test_a_deleted_cluster_is_forgotten_without_a_word_of_trouble(stage: Stage) -> None:
    await a_cluster(stage)
    await stage.tell_cluster(a_spec(generation=2, deletion_requested_at=stage.clock.now()))
    stage.clusters.of("c1").failure = unreachable()
    stage.agents.clear()
    for server in list(stage.servers.servers):
        stage.servers.put(server, status="DELETED")
    await stage.drift(MINUTE)
    await stage.skip(6 * MINUTE)
    ended = an_infrastructure(phase=InfrastructurePhase.DELETED)
    await stage.tell(ClusterDeleted, "clusters/c1/infrastructure", ended)
    await stage.skip(10 * MINUTE)
    assert stage.said(NodeUnhealthy, ClusterUnhealthy, AlertRaised) == []
    assert len(stage.said(NodeForgotten)) == 5
    assert len(stage.said(ClusterForgotten)) == 1
    assert stage.said(RegionObserved)[-1].data.clusters_unseen == ()


async def test_a_stale_fact_changes_nothing(stage: Stage) -> None:
    await a_cluster(stage)
    await stage.tell_node(a_node("w1", phase=NodePhase.REMOVED), NodeRemoved)
    await stage.drift(SECOND)
    stage._order = 3  # an older sequence of the same source
    assert await stage.tell(NodeRemoved, "clusters/c1/nodes/w1", a_node("w1")) == "stale"
    with stage.hearing(NodeReady, NodeForgotten) as heard:
        await stage.drift(20 * SECOND)
    assert heard == []
