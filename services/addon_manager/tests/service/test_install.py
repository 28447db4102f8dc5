"""A cluster gets its addons, keeps them, and loses what nothing defines any more."""

from datetime import timedelta
from typing import Any

from slipway_addon_manager.domain.model import ObjectReference
from slipway_addon_manager.domain.rbac import binding_name
from slipway_chassis.errors import RetryLater
from slipway_contracts.addon_manager import AddonPhase
from slipway_contracts.api import ClusterUser, Persona

NAMES = ["rbac", "kube-proxy", "flannel", "coredns"]
ALICE = ClusterUser(name="alice@1", persona=Persona.MEMBER)
BOB = ClusterUser(name="bob@2", persona=Persona.READER)
RBAC = "rbac.authorization.k8s.io/v1"


def binding(person: ClusterUser) -> ObjectReference:
    return ObjectReference(RBAC, "ClusterRoleBinding", None, binding_name(person))


async def test_until_the_control_plane_answers_every_addon_says_that_it_waits(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure("ready")
    await stage.work()
    assert stage.news() == [("AddonChanged", name) for name in NAMES]
    for state in (await stage.states()).values():
        assert state.phase is AddonPhase.PENDING
        assert state.reason.code == "WaitingForControlPlane"
    assert stage.signing.signed == 0
    assert stage.clusters.connected == 0


async def test_when_it_answers_all_addons_are_installed_in_their_order(stage: Any) -> None:
    await stage.spec(users=[ALICE])
    await stage.infrastructure()
    await stage.work()
    news = stage.news()
    assert news == [("AddonChanged", name) for name in NAMES] + [("AddonInstalled", name) for name in NAMES]
    for state in (await stage.states()).values():
        assert (state.phase, state.reason) == (AddonPhase.INSTALLED, None)
        assert state.installed_version == state.wanted_version
        assert state.objects > 0
    assert stage.cluster.named("DaemonSet") == {"kube-proxy", "flannel"}
    assert stage.cluster.named("Deployment") == {"coredns"}
    assert binding(ALICE) in stage.cluster.objects


async def test_the_order_of_arrival_does_not_matter(stage: Any) -> None:
    await stage.infrastructure()
    await stage.work()
    await stage.spec()
    await stage.work()
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}


async def test_what_is_installed_is_looked_at_but_neither_written_nor_said_again(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    writes = stage.cluster.writes
    stage.news()
    await stage.wait(minutes=30)
    assert stage.clusters.connected > 3
    assert stage.cluster.writes == writes
    assert stage.news() == []


async def test_what_somebody_changed_or_removed_comes_back(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    corefile = ObjectReference("v1", "ConfigMap", "kube-system", "coredns")
    service = ObjectReference("v1", "Service", "kube-system", "kube-dns")
    stage.cluster.change(corefile, data={"Corefile": "broken"})
    stage.cluster.remove(service)
    await stage.wait(minutes=6)
    assert "kubernetes cluster.local" in stage.cluster.objects[corefile]["data"]["Corefile"]
    assert service in stage.cluster.objects
    repaired = stage.service.registry.get_sample_value("slipway_addon_manager_repaired_total", {"addon": "coredns"})
    assert repaired == 2


async def test_a_vanished_workload_comes_back_at_the_next_look(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    daemon_set = ObjectReference("apps/v1", "DaemonSet", "kube-system", "flannel")
    stage.cluster.remove(daemon_set)
    await stage.infrastructure()
    await stage.work()
    await stage.wait(seconds=30)
    assert daemon_set in stage.cluster.objects


async def test_a_new_user_is_let_in_and_a_removed_one_put_out_at_once(stage: Any) -> None:
    await stage.spec(users=[ALICE])
    await stage.infrastructure()
    await stage.work()
    stage.news()
    await stage.spec(generation=2, users=[BOB])
    await stage.work()
    assert binding(BOB) in stage.cluster.objects
    assert binding(ALICE) not in stage.cluster.objects
    assert stage.news() == [("AddonOutdated", "rbac"), ("AddonUpdated", "rbac")]


async def test_another_persona_replaces_the_binding(stage: Any) -> None:
    await stage.spec(users=[BOB])
    await stage.infrastructure()
    await stage.work()
    promoted = ClusterUser(name=BOB.name, persona=Persona.ADMIN)
    await stage.spec(generation=2, users=[promoted])
    await stage.work()
    bindings = {name for name in stage.cluster.named("ClusterRoleBinding") if name.startswith("slipway:user:")}
    assert bindings == {binding_name(promoted)}


async def test_only_what_has_slipways_labels_is_ever_deleted(stage: Any) -> None:
    foreign = ObjectReference(RBAC, "ClusterRoleBinding", None, "slipway:user:cluster-admin:handmade")
    services = ObjectReference(RBAC, "ClusterRoleBinding", None, "slipway:provisioner")
    orphan = ObjectReference(RBAC, "ClusterRoleBinding", None, "slipway:user:view:orphan")
    managed = {"app.kubernetes.io/managed-by": "slipway"}
    stage.cluster.change(foreign)
    stage.cluster.change(services, metadata={"labels": managed})
    stage.cluster.change(orphan, metadata={"labels": {**managed, "slipway.dev/addon": "rbac"}})
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    assert {foreign, services} <= set(stage.cluster.objects)
    assert orphan not in stage.cluster.objects


async def test_from_the_deletion_on_nothing_is_applied_any_more(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    stage.news()
    writes, connected = stage.cluster.writes, stage.clusters.connected
    await stage.spec(generation=2, deletion_requested_at=stage.clock.now())
    await stage.infrastructure()
    await stage.work()
    await stage.wait(minutes=20)
    assert stage.news() == [("AddonRemoved", name) for name in sorted(NAMES)]
    assert (stage.cluster.writes, stage.clusters.connected) == (writes, connected)
    assert await stage.states() == {}


async def test_a_deletion_that_arrives_first_says_nothing(stage: Any) -> None:
    await stage.spec(deletion_requested_at=stage.clock.now())
    await stage.infrastructure()
    await stage.work()
    assert stage.news() == []
    assert stage.clusters.connected == 0


async def test_a_deletion_in_the_middle_of_a_look_ends_it(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    original = stage.cluster.apply

    async def apply(manifest: dict[str, Any]) -> str:
        stage.cluster.apply = original
        await stage.spec(generation=2, deletion_requested_at=stage.clock.now())
        return str(await original(manifest))

    stage.cluster.apply = apply
    await stage.work()
    assert stage.cluster.named("DaemonSet") == set()
    assert await stage.states() == {}


async def test_the_credential_is_kept_and_renewed_at_half_of_its_life(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    await stage.wait(minutes=30)
    assert stage.signing.signed == 1
    stage.clock.step(timedelta(hours=12))
    await stage.work()
    assert stage.signing.signed == 2
    assert stage.cluster.certificates[-1] == "certificate 2 for c1"


async def test_a_refused_credential_is_asked_for_anew(stage: Any) -> None:
    await stage.spec()
    await stage.infrastructure()
    await stage.work()
    stage.cluster.refuses = RetryLater(timedelta(seconds=10), "CredentialExpired", "401 Unauthorized")
    await stage.wait(minutes=6)
    stage.cluster.refuses = None
    await stage.wait(minutes=1)
    assert stage.signing.signed > 1
    assert {state.phase for state in (await stage.states()).values()} == {AddonPhase.INSTALLED}
