"""What is said when a cluster does not answer, refuses, or its pods do not come up; and crashes in between."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from slipway_chassis import crash
from slipway_chassis.errors import RetryLater
from slipway_contracts.addon_manager import AddonPhase

AWAY = RetryLater(timedelta(seconds=10), "ClusterUnreachable", "The cluster's API cannot be reached")
NOT_YET = RetryLater(timedelta(seconds=5), "CredentialNotYet", "The cluster's keys do not exist yet")


async def installed(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    stage.news()


async def test_a_cluster_that_does_not_answer_yet_is_tried_again_and_says_why(stage: Any) -> None:
    stage.cluster.refuses = AWAY
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    for state in (await stage.states()).values():
        assert (state.phase, state.reason.code) == (AddonPhase.INSTALLING, "ClusterUnreachable")
    stage.news()
    await stage.wait(minutes=1)
    assert stage.news() == []
    stage.cluster.refuses = None
    await stage.wait(seconds=20)
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}


async def test_without_a_credential_nothing_is_tried(stage: Any) -> None:
    stage.signing.away = NOT_YET
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    assert {state.reason.code for state in (await stage.states()).values()} == {"CredentialNotYet"}
    assert stage.clusters.connected == 0
    stage.signing.away = None
    await stage.wait(seconds=20)
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}


async def test_that_an_installed_cluster_does_not_answer_is_not_said_here(stage: Any) -> None:
    await installed(stage)
    stage.cluster.refuses = AWAY
    await stage.wait(minutes=20)
    assert stage.news() == []
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}


async def test_a_refused_object_degrades_its_addon_alone(stage: Any) -> None:
    stage.cluster.refuses_objects["kube-dns"] = "spec.clusterIPs: provided IP is already allocated"
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    states = await stage.states()
    assert states["coredns"].phase is AddonPhase.DEGRADED
    assert "already allocated" in states["coredns"].reason.message
    assert "Service kube-system/kube-dns" in states["coredns"].reason.message
    assert {states[name].phase for name in ("rbac", "kube-proxy", "flannel")} == {AddonPhase.INSTALLED}
    stage.news()
    await stage.wait(minutes=5)
    assert stage.news() == []
    stage.cluster.refuses_objects.clear()
    await stage.wait(minutes=2)
    assert stage.news() == [("AddonInstalled", "coredns")]


async def test_missing_pods_are_no_degradation_until_patience_ends(stage: Any) -> None:
    stage.cluster.missing_pods["coredns"] = 2
    await installed(stage)
    await stage.wait(minutes=4)
    assert stage.news() == []
    await stage.wait(minutes=2)
    assert stage.news() == [("AddonDegraded", "coredns")]
    state = (await stage.states())["coredns"]
    assert state.reason.code == "PodsUnavailable"
    assert "0 of 2 pods" in state.reason.message
    assert state.installed_version == state.wanted_version


async def test_pods_that_come_back_end_the_degradation(stage: Any) -> None:
    await installed(stage)
    stage.cluster.missing_pods["kube-proxy"] = 1
    await stage.wait(minutes=15)
    assert stage.news() == [("AddonDegraded", "kube-proxy")]
    stage.cluster.missing_pods.clear()
    await stage.wait(minutes=2)
    assert stage.news() == [("AddonInstalled", "kube-proxy")]


async def test_pods_that_come_and_go_start_the_patience_anew(stage: Any) -> None:
    await installed(stage)
    for _ in range(3):
        stage.cluster.missing_pods["kube-proxy"] = 1
        await stage.infrastructure()
        await stage.wait(minutes=4)
        stage.cluster.missing_pods.clear()
        await stage.wait(minutes=1)
    assert stage.news() == []


async def test_a_release_that_the_region_does_not_have_is_said(stage: Any) -> None:
    await stage.spec(release="v1.99.0")
    await stage.infrastructure()
    await stage.work()
    for state in (await stage.states()).values():
        assert state.phase is AddonPhase.DEGRADED
        assert "v1.99.0" in state.reason.message
        assert "v1.36.3" in state.reason.message


@pytest.fixture
def armed() -> Iterator[list[str]]:
    """The names of the points that were passed."""
    yield []
    crash.arm(None)


@pytest.mark.parametrize("cut", [0, 3, 4, 5, 9, 16, 17, 23, 30, 38, 46, 49])
async def test_a_process_killed_anywhere_leaves_nothing_that_the_next_does_not_mend(
    stage: Any, armed: list[str], cut: int
) -> None:
    await stage.spec()
    await stage.infrastructure()

    def die(name: str) -> None:
        armed.append(name)
        if len(armed) > cut:
            raise crash.Crashed(name)

    crash.arm(die)
    with pytest.raises(crash.Crashed):
        await stage.work()
    crash.arm(None)
    stage.clock.step(timedelta(seconds=61))
    await stage.work()
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}
    assert stage.cluster.named("DaemonSet") == {"kube-proxy", "flannel"}
    said = {each.id: type(each).__name__ for each in stage.said}
    assert list(said.values()).count("AddonInstalled") == 4


async def test_a_replica_that_lost_its_lease_commits_nothing(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    original = stage.cluster.managed

    async def managed() -> Any:
        stage.cluster.managed = original
        stage.clock.step(timedelta(seconds=61))
        await stage.work()
        stage.news()
        stage.cluster.missing_pods["coredns"] = 2
        return await original()

    stage.cluster.managed = managed
    await stage.work()
    assert stage.news() == []
