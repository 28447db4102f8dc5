"""The addon manager as a service with the rights that it really has: from the first events to a removed user."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway_addon_manager.adapters.kubernetes import KubernetesClusters
from slipway_addon_manager.app import Parts, build_service
from slipway_addon_manager.domain.definitions import define_addons
from slipway_addon_manager.domain.objects import cluster_role_binding, user
from slipway_addon_manager.domain.rbac import binding_name
from slipway_addon_manager.settings import Settings
from slipway_addon_manager.store import metadata, progress_of
from slipway_addon_manager.testing import some_inputs, some_releases
from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_chassis.ids import new_id
from slipway_chassis.service import Service
from slipway_chassis.signing import ClusterCredential
from slipway_chassis.testing import a_database
from slipway_contracts.addon_manager import AddonPhase
from slipway_contracts.api import ClusterSpecChanged, ClusterUser, Persona
from slipway_contracts.envelope import sequence_text
from slipway_contracts.provisioner import ClusterInfrastructure, ControlPlaneAvailable
from slipway_contracts.testing import a_cluster_spec

ALICE = ClusterUser(name="alice@1", persona=Persona.ADMIN)
BOB = ClusterUser(name="bob@2", persona=Persona.READER)
CLUSTERS = KubernetesClusters(timedelta(seconds=20))
OWN_USER = "slipway:addon-manager"


class IssuedCredentials:
    """Credentials by the test's own authority, for whom it says."""

    def __init__(self, kubernetes: Any) -> None:
        self.kubernetes = kubernetes

    async def of(self, cluster_id: str, name: str = OWN_USER, *groups: str) -> ClusterCredential:
        issued = self.kubernetes.credential(name, groups)
        return ClusterCredential(
            cluster_id,
            self.kubernetes.url,
            self.kubernetes.ca_pem,
            issued.certificate_pem,
            issued.key_pem,
            datetime.max.replace(tzinfo=UTC),
        )

    def forget(self, cluster_id: str) -> None:
        """Nothing is kept."""


@asynccontextmanager
async def a_service(folder: Path, credentials: IssuedCredentials, clock: SteppingClock) -> AsyncIterator[Service]:
    database = await a_database(folder, metadata)
    parts = Parts(clock, database, random.Random(1), credentials, CLUSTERS, some_releases())
    try:
        yield build_service(Settings(region="tokyo"), parts)
    finally:
        await database.close()


async def hear(service: Service, event_class: Any, subject: str, body: Any, source: str) -> None:
    now = service.clock.now()
    event = event_class(
        id=new_id(now),
        type=event_class.TYPE,
        source=source,
        subject=subject,
        time=now,
        region="tokyo",
        sequence=sequence_text(int(now.timestamp() * 1_000_000)),
        data=body,
    )
    assert (await service.receive(event.to_json())).cause is None


async def phases(service: Service) -> set[AddonPhase]:
    while await service.work_once():
        pass
    async with service.database.reading() as session:
        return {each.state.phase for each in (await progress_of(session, "c1")).values()}


async def people(credentials: IssuedCredentials) -> set[str]:
    async with CLUSTERS.connect(await credentials.of("c1", "root", "system:masters")) as api:
        names = {each.reference.name for each in await api.managed()}
    return {name for name in names if name.startswith("slipway:user:")}


async def test_a_cluster_is_installed_with_the_services_own_rights_and_follows_its_users(
    kubernetes: Any, tmp_path: Path
) -> None:
    clock, credentials = SteppingClock(), IssuedCredentials(kubernetes)
    async with CLUSTERS.connect(await credentials.of("c1", "root", "system:masters")) as api:
        await api.apply(cluster_role_binding(OWN_USER, "cluster-admin", user(OWN_USER)))
    async with a_service(tmp_path, credentials, clock) as service:
        first = a_cluster_spec("c1", users=[ALICE, BOB])
        await hear(service, ClusterSpecChanged, "clusters/c1", first, "api/global")
        available = ClusterInfrastructure.model_validate(
            {"cluster_id": "c1", "phase": "available", "since": clock.now(), "endpoint": "https://10.0.0.4:6443"}
        )
        source = "provisioner/tokyo"
        await hear(service, ControlPlaneAvailable, "clusters/c1/infrastructure", available, source)
        # the real server's authorizer follows the binding a moment later, and the service tries again
        for _ in range(20):
            if await phases(service) == {AddonPhase.INSTALLED}:
                break
            clock.step(timedelta(seconds=15))
        assert await phases(service) == {AddonPhase.INSTALLED}
        assert await people(credentials) == {binding_name(ALICE), binding_name(BOB)}

        clock.step(timedelta(seconds=1))
        second = a_cluster_spec("c1", generation=2, users=[ALICE])
        await hear(service, ClusterSpecChanged, "clusters/c1", second, "api/global")
        assert await phases(service) == {AddonPhase.INSTALLED}
        assert await people(credentials) == {binding_name(ALICE)}


async def test_pods_that_no_node_can_take_degrade_and_a_node_mends(serve: Callable[[str], Any], tmp_path: Path) -> None:
    clock = SteppingClock()
    async with serve("emulated") as kubernetes:
        credentials = IssuedCredentials(kubernetes)
        async with CLUSTERS.connect(await credentials.of("c1", "root", "system:masters")) as api:
            await api.apply(cluster_role_binding(OWN_USER, "cluster-admin", user(OWN_USER)))
        async with a_service(tmp_path, credentials, clock) as service:
            await hear(service, ClusterSpecChanged, "clusters/c1", a_cluster_spec("c1"), "api/global")
            available = ClusterInfrastructure.model_validate(
                {"cluster_id": "c1", "phase": "available", "since": clock.now(), "endpoint": "https://10.0.0.4:6443"}
            )
            source = "provisioner/tokyo"
            await hear(service, ControlPlaneAvailable, "clusters/c1/infrastructure", available, source)
            assert await phases(service) == {AddonPhase.INSTALLED}
            kubernetes.controllers.step()
            for _ in range(40):
                clock.step(timedelta(seconds=10))
                await phases(service)
            assert AddonPhase.DEGRADED in await phases(service)

            kubernetes.add_node("worker-1", labels={"kubernetes.io/os": "linux"})
            for _ in range(5):
                kubernetes.controllers.step()
            clock.step(timedelta(minutes=2))
            assert await phases(service) == {AddonPhase.INSTALLED}


@pytest.mark.parametrize(("persona", "may_change"), [(Persona.ADMIN, True), (Persona.READER, False)])
async def test_a_persona_may_look_and_perhaps_change(
    serve: Callable[[str], Any], persona: Persona, may_change: bool
) -> None:
    person = ClusterUser(name="carol@3", persona=persona)
    rbac, _, _, coredns = define_addons(some_inputs(users=[person]))
    async with serve("emulated") as kubernetes:
        credentials = IssuedCredentials(kubernetes)
        async with CLUSTERS.connect(await credentials.of("c1", "root", "system:masters")) as api:
            for manifest in (*rbac.manifests, *coredns.manifests):
                await api.apply(manifest)
        async with CLUSTERS.connect(await credentials.of("c1", person.name)) as api:
            assert await api.workload(coredns.workloads[0]) is not None
            if may_change:
                await api.apply(coredns.manifests[0])
                return
            with pytest.raises(RetryLater, match="PermissionMissing"):
                await api.apply(coredns.manifests[0])
