"""The addon manager's port to clusters: one suite for its fake, the emulated API and a real one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway_addon_manager.adapters.kubernetes import KubernetesClusters
from slipway_addon_manager.domain.definitions import define_addons
from slipway_addon_manager.domain.model import ADDON_LABEL, MANAGED_BY, ManagedObject, ObjectReference
from slipway_addon_manager.ports import ClusterApi
from slipway_addon_manager.testing import FakeCluster, some_inputs
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.signing import ClusterCredential
from slipway_contracts.api import ClusterUser, Persona
from slipway_sandbox.machines.authority import Authority

USERS = [ClusterUser(name="alice@1", persona=Persona.MEMBER), ClusterUser(name="bob@2", persona=Persona.READER)]
RBAC = "rbac.authorization.k8s.io/v1"


def credential(kubernetes: Any, user: str, *groups: str) -> ClusterCredential:
    issued = kubernetes.credential(user, groups)
    return ClusterCredential(
        cluster_id="c1",
        endpoint=kubernetes.url,
        ca_pem=kubernetes.ca_pem,
        certificate_pem=issued.certificate_pem,
        key_pem=issued.key_pem,
        renew_at=datetime.now(UTC) + timedelta(hours=12),
    )


CLUSTERS = KubernetesClusters(timedelta(seconds=20))


@pytest.fixture(params=["fake", "emulated", pytest.param("real", marks=pytest.mark.integration)])
async def api(request: pytest.FixtureRequest, serve: Any) -> AsyncIterator[ClusterApi]:
    """A cluster's API as the addon manager has it; what the test left is removed."""
    if request.param == "fake":
        yield FakeCluster()
        return
    async with (
        serve(request.param) as kubernetes,
        CLUSTERS.connect(credential(kubernetes, "root", "system:masters")) as connected,
    ):
        yield connected
        for left in await connected.managed():
            await connected.delete(left)


def config(name: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "kube-system", "labels": {**MANAGED_BY, ADDON_LABEL: "suite"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}} | more


def binding(name: str, role: str) -> dict[str, Any]:
    return {
        "apiVersion": RBAC,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name, "labels": {**MANAGED_BY, ADDON_LABEL: "suite"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}],
    }


async def found(api: ClusterApi, name: str) -> ManagedObject | None:
    return next((each for each in await api.managed() if each.reference.name == name), None)


async def test_all_addons_are_accepted_and_applying_them_again_changes_nothing(api: ClusterApi) -> None:
    manifests = [manifest for addon in define_addons(some_inputs(users=USERS)) for manifest in addon.manifests]
    first = {ObjectReference.of(each): await api.apply(each) for each in manifests}
    second = {ObjectReference.of(each): await api.apply(each) for each in manifests}
    assert second == first
    assert {each.reference: each.version for each in await api.managed()} == first


async def test_what_was_applied_is_managed(api: ClusterApi, unique: str) -> None:
    version = await api.apply(config(unique))
    managed = await found(api, unique)
    assert managed is not None
    assert managed.reference == ObjectReference("v1", "ConfigMap", "kube-system", unique)
    assert (managed.addon, managed.version) == ("suite", version)
    assert managed.uid


async def test_what_has_only_one_of_the_labels_is_not_managed(api: ClusterApi, unique: str) -> None:
    for number, labels in enumerate(({}, MANAGED_BY, {ADDON_LABEL: "suite"})):
        manifest = config(f"{unique}-{number}")
        manifest["metadata"]["labels"] = dict(labels)
        await api.apply(manifest)
    assert not [each for each in await api.managed() if each.reference.name.startswith(unique)]


async def test_a_change_moves_the_version_and_a_dropped_field_goes(api: ClusterApi, unique: str) -> None:
    first = await api.apply(config(unique, data={"key": "value", "other": "value"}))
    second = await api.apply(config(unique, data={"key": "value"}))
    assert second != first
    assert await api.apply(config(unique, data={"key": "value"})) == second


async def test_a_deleted_object_is_gone_and_may_be_deleted_again(api: ClusterApi, unique: str) -> None:
    await api.apply(config(unique))
    managed = await found(api, unique)
    assert managed is not None
    await api.delete(managed)
    assert await found(api, unique) is None
    await api.delete(managed)


async def test_a_late_deletion_spares_another_object_of_the_same_name(api: ClusterApi, unique: str) -> None:
    await api.apply(config(unique))
    first = await found(api, unique)
    assert first is not None
    await api.delete(first)
    await api.apply(config(unique))
    await api.delete(first)
    assert await found(api, unique) is not None


async def test_names_that_a_path_must_escape(api: ClusterApi, unique: str) -> None:
    name = f"slipway:user:view:{unique}"
    await api.apply(binding(name, "view"))
    managed = await found(api, name)
    assert managed is not None
    await api.delete(managed)
    assert await found(api, name) is None


async def test_a_role_cannot_be_changed_and_the_error_names_the_object(api: ClusterApi, unique: str) -> None:
    await api.apply(binding(unique, "view"))
    with pytest.raises(GiveUp, match="roleRef") as refused:
        await api.apply(binding(unique, "edit"))
    assert refused.value.reason.code == "ManifestRefused"
    assert f"ClusterRoleBinding {unique}" in refused.value.reason.message


async def test_an_unknown_kind_is_refused(api: ClusterApi, unique: str) -> None:
    with pytest.raises(GiveUp, match="no kind that addons consist of"):
        await api.apply({"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": unique}})


async def test_a_missing_namespace_may_still_come(api: ClusterApi, unique: str) -> None:
    manifest = config(unique)
    manifest["metadata"]["namespace"] = f"missing-{unique}"
    with pytest.raises(RetryLater) as refused:
        await api.apply(manifest)
    assert refused.value.reason.code == "NamespaceMissing"


async def test_a_workload_that_is_not_there_is_none(api: ClusterApi, unique: str) -> None:
    for kind in ("DaemonSet", "Deployment"):
        assert await api.workload(ObjectReference("apps/v1", kind, "kube-system", unique)) is None


async def test_workloads_are_counted(api: ClusterApi) -> None:
    addons = define_addons(some_inputs())
    for addon in addons:
        for manifest in addon.manifests:
            await api.apply(manifest)
    coredns = ObjectReference("apps/v1", "Deployment", "kube-system", "coredns")
    status = await api.workload(coredns)
    assert status is not None
    assert (status.reference, status.wanted) == (coredns, 2)
    assert (status.shortfall is None) == (status.available == 2 and status.observed)


async def test_nobody_else_may_apply(kubernetes: Any, unique: str) -> None:
    async with CLUSTERS.connect(credential(kubernetes, "somebody")) as api:
        with pytest.raises(RetryLater) as refused:
            await api.apply(config(unique))
    assert refused.value.reason.code == "PermissionMissing"
    assert "ConfigMap kube-system/" in refused.value.reason.message


async def test_the_certificate_of_a_foreign_authority_is_not_accepted(kubernetes: Any, unique: str) -> None:
    issued = Authority("foreign").issue("root", ("system:masters",))
    access = ClusterCredential(
        "c1", kubernetes.url, kubernetes.ca_pem, issued.certificate_pem, issued.key_pem, datetime.now(UTC)
    )
    async with CLUSTERS.connect(access) as api:
        with pytest.raises(RetryLater) as refused:
            await api.apply(config(unique))
    assert refused.value.reason.code in ("CredentialExpired", "ClusterUnreachable")


async def test_a_cluster_that_nobody_serves_is_unreachable() -> None:
    authority = Authority("kubernetes")
    issued = authority.issue("root")
    access = ClusterCredential(
        "c1",
        "https://127.0.0.1:1",
        authority.certificate_pem,
        issued.certificate_pem,
        issued.key_pem,
        datetime.now(UTC),
    )
    async with KubernetesClusters(timedelta(seconds=2)).connect(access) as api:
        with pytest.raises(RetryLater) as refused:
            await api.managed()
    assert refused.value.reason.code == "ClusterUnreachable"
