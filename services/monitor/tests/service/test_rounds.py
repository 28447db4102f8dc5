"""Rounds over the region: what is asked of the cloud, and how little."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_contracts.monitor import NodeUnhealthy, RegionObserved, WitnessName
from slipway_monitor.testing import PROJECT, Stage, a_node, a_spec, a_stage, an_infrastructure, unreachable

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as made:
        await made.tell_cluster(a_spec(), an_infrastructure())
        yield made


async def test_calls_do_not_grow_with_the_number_of_nodes(stage: Stage) -> None:
    await stage.bring_up(a_node("w1"))
    await stage.run(15 * SECOND)
    before = stage.servers.lists
    await stage.run(30 * SECOND)
    few = stage.servers.lists - before
    await stage.bring_up(*(a_node(f"w{number}", now=stage.clock.now()) for number in range(2, 12)))
    before = stage.servers.lists
    await stage.run(30 * SECOND)
    assert stage.servers.lists - before == few == 3
    assert stage.servers.gets == 0


async def test_a_server_missing_from_a_full_list_is_asked_for_by_id_and_not_believed_gone(stage: Stage) -> None:
    await stage.bring_up(a_node("w1"))
    await stage.run(15 * SECOND)
    kept = dict(stage.servers.servers)
    stage.servers.hidden.add("server-w1")
    await stage.skip(6 * MINUTE)
    assert stage.servers.gets == 1
    assert stage.said(NodeUnhealthy) == []
    assert stage.servers.servers == kept


async def test_a_server_answered_with_404_is_a_witness_and_no_proof(stage: Stage) -> None:
    await stage.bring_up(*(a_node(f"w{number}") for number in range(1, 6)))
    await stage.run(15 * SECOND)
    for number in range(1, 6):
        del stage.servers.servers[f"server-w{number}"]
    await stage.skip(6 * MINUTE)
    await stage.run(15 * SECOND)
    saw = {event.data.node_id: event.data.witnesses for event in stage.said(NodeUnhealthy)}
    assert set(saw) == {f"w{number}" for number in range(1, 6)}
    assert all("does not exist" in next(w.saw for w in each if w.name is WitnessName.SERVER) for each in saw.values())
    trust = stage.said(RegionObserved)[-1].data
    assert not trust.trusted, "a foreign cloud's 404s count as losses, for nobody confirmed them"


async def test_clusters_of_a_project_that_cannot_be_listed_are_unseen(stage: Stage) -> None:
    await stage.bring_up(a_node("w1"))
    await stage.tell_cluster(a_spec("c2", project_id="other"), an_infrastructure("c2"))
    await stage.bring_up(a_node("x1", cluster_id="c2"))
    stage.servers.unreached["other"] = unreachable("CloudForbidden")
    await stage.run(15 * SECOND)
    trust = stage.said(RegionObserved)[-1].data
    assert (trust.trusted, trust.clusters_unseen) == (True, ("c2",))
    stage.servers.unreached[PROJECT] = unreachable("CloudForbidden")
    await stage.run(15 * SECOND)
    assert stage.said(RegionObserved)[-1].data.suspicions[0].code == "CloudForbidden"


async def test_a_project_that_cannot_be_listed_does_not_stop_the_rounds_over_the_others(stage: Stage) -> None:
    await stage.bring_up(a_node("w1"))
    await stage.tell_cluster(a_spec("c2", project_id="other"), an_infrastructure("c2"))
    await stage.bring_up(a_node("x1", cluster_id="c2"))
    stage.servers.put("server-x1", project_id="other")
    await stage.run(15 * SECOND)
    stage.servers.unreached["other"] = unreachable("CloudForbidden")
    await stage.skip(6 * MINUTE)  # a full list is due, which asks by id for what it misses
    await stage.run(15 * SECOND)
    trust = stage.said(RegionObserved)[-1].data
    assert (trust.trusted, trust.clusters_unseen) == (True, ("c2",))


async def test_a_new_process_on_the_same_database_says_nothing_twice(stage: Stage) -> None:
    await stage.bring_up(*(a_node(f"w{number}") for number in range(1, 4)))
    await stage.run(15 * SECOND)
    stage.restart()
    with stage.hearing() as heard:
        await stage.drift(90 * SECOND)
    assert {type(event) for event in heard} == {RegionObserved}


async def test_agents_that_push_to_another_replica_are_heard_here_too(stage: Stage) -> None:
    await stage.bring_up(a_node("w1"), a_node("w2"))
    await stage.run(15 * SECOND)
    here = stage.service
    stage.restart()  # from now on agents push to the new process, and the old one alone looks
    stage.service = here
    with stage.hearing(NodeUnhealthy) as heard:
        await stage.run(3 * MINUTE)
    assert heard == []
