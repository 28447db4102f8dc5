"""What the monitor tells of a cluster's etcd while members are lost and replaced."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_contracts.monitor import (
    EtcdMembership,
    EtcdMembershipChanged,
    EtcdMembershipForgotten,
    NodeHealth,
    NodeUnhealthy,
    RegionObserved,
    Verdict,
    WitnessName,
)
from slipway_contracts.provisioner import ClusterDeleted, InfrastructurePhase
from slipway_contracts.values import Role
from slipway_monitor.testing import Stage, a_member, a_member_id, a_node, a_spec, a_stage, an_etcd, an_infrastructure

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
SUBJECT = "clusters/c1/etcd"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with a_stage(tmp_path) as made:
        await made.tell_cluster(a_spec(), an_infrastructure())
        now = made.clock.now()
        describe(made)
        await made.bring_up(
            *(a_node(f"e{n}", Role.ETCD, now=now, addresses=(f"10.0.0.{n}",)) for n in (1, 2, 3)),
            a_node("k1", Role.CONTROLLER, now=now),
        )
        await made.run(20 * SECOND)
        yield made


def describe(stage: Stage, *dead: int) -> None:
    """From now on the agents of the living see these members dead."""
    members = [a_member(n, healthy=n not in dead) for n in (1, 2, 3)]
    living = [n for n in (1, 2, 3) if n not in dead]
    stage.etcd = {f"e{n}": an_etcd(n, *members, leader=living[0]) for n in living}


def newest(stage: Stage) -> EtcdMembership:
    event = stage.said(EtcdMembershipChanged)[-1]
    assert event.subject == SUBJECT
    assert isinstance(event.data, EtcdMembership)
    return event.data


def unhealthy(stage: Stage) -> list[str | None]:
    return [each.node_id for each in newest(stage).voters if not each.healthy]


async def test_members_are_told_once_and_not_again_while_nothing_changes(stage: Stage) -> None:
    assert [each.node_id for each in newest(stage).voters] == ["e1", "e2", "e3"]
    assert unhealthy(stage) == []
    with stage.hearing() as heard:
        await stage.run(MINUTE)
    assert {type(event) for event in heard} == {RegionObserved}


async def test_a_dead_member_is_seen_by_the_others_and_by_the_silence_of_its_agent(stage: Stage) -> None:
    describe(stage, 3)
    del stage.agents["e3"]
    await stage.run(15 * SECOND)
    assert unhealthy(stage) == ["e3"]
    await stage.drift(2 * MINUTE)
    health = stage.said(NodeUnhealthy)[-1].data
    assert isinstance(health, NodeHealth)
    assert health.node_id == "e3"
    verdicts = {each.name: each.verdict for each in health.witnesses}
    assert verdicts[WitnessName.ETCD_PEERS] is verdicts[WitnessName.AGENT] is Verdict.UNHEALTHY


async def test_a_learner_is_told_and_then_the_vote(stage: Stage) -> None:
    describe(stage, 3)
    del stage.agents["e3"]
    await stage.run(15 * SECOND)
    replaced = a_member(3, member_id=a_member_id(33), name="", learner=True, healthy=False)
    voters = [a_member(1), a_member(2)]
    stage.etcd = {f"e{n}": an_etcd(n, *voters, replaced) for n in (1, 2)}
    await stage.run(15 * SECOND)
    assert [(each.node_id, each.name) for each in newest(stage).learners] == [("e3", "")]
    assert len(newest(stage).voters) == 2
    promoted = replaced.model_copy(update={"name": "node-e3-2", "learner": False, "healthy": True})
    stage.etcd = {f"e{n}": an_etcd(n, *voters, promoted) for n in (1, 2)}
    await stage.run(15 * SECOND)
    assert newest(stage).learners == ()
    assert [each.node_id for each in newest(stage).voters] == ["e1", "e2", "e3"]


async def test_a_restarted_monitor_tells_nothing_of_members_that_stayed_as_they_were(stage: Stage) -> None:
    await stage.skip(5 * MINUTE)
    stage.restart()
    await stage.service.start()
    with stage.hearing(EtcdMembershipChanged) as heard:
        await stage.run(MINUTE)
    assert heard == []


async def test_when_all_agents_fall_silent_nobody_is_called_healthy(stage: Stage) -> None:
    stage.agents.clear()
    await stage.drift(2 * MINUTE)
    assert unhealthy(stage) == ["e1", "e2", "e3"]
    assert {each.seen_by for each in newest(stage).voters} == {0}


async def test_the_membership_ends_with_its_cluster(stage: Stage) -> None:
    gone = an_infrastructure(phase=InfrastructurePhase.DELETED)
    await stage.tell(ClusterDeleted, "clusters/c1/infrastructure", gone)
    await stage.settle()
    assert [event.subject for event in stage.said(EtcdMembershipForgotten)] == [SUBJECT]
