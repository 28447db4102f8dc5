"""Brings the addons of one cluster to their definitions, and says how far they are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_addon_manager import store
from slipway_addon_manager.domain.definitions import DEFINITIONS, define_addons
from slipway_addon_manager.domain.model import Addon, Endpoint, Inputs, ManagedObject, ObjectReference
from slipway_addon_manager.domain.states import (
    Progress,
    begin,
    decide_applied,
    decide_applying,
    decide_available,
    decide_refused,
    decide_removed,
    decide_waiting,
    event_of,
)
from slipway_addon_manager.metrics import AddonMetrics
from slipway_addon_manager.ports import ClusterApi, Clusters, Credentials
from slipway_addon_manager.settings import Settings
from slipway_chassis import crash, facts, work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.outbox import Announcer
from slipway_chassis.regions import Machine
from slipway_chassis.work import Lease
from slipway_contracts.addon_manager import AddonPhase
from slipway_contracts.api import ClusterSpec
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase

log = structlog.get_logger()

KIND = "cluster"
"""In the work queue: one item for each cluster."""

TROUBLE_LOOK = timedelta(seconds=60)
"""Between two looks at what is degraded, or at an installed cluster that does not answer: nobody waits for it."""


class ReleaseImages(Protocol):
    """The images of each release."""

    def images(self, release: str) -> Mapping[str, str]:
        """By the keys of releases.yaml. Raises GiveUp UnknownRelease."""
        ...


@dataclass(frozen=True)
class Scene:
    """What is known of one cluster."""

    spec: ClusterSpec | None
    endpoint: str | None
    """Where its API answers; None while it does not."""
    progress: dict[str, Progress]

    @property
    def living(self) -> ClusterSpec | None:
        """The spec of a cluster that should be there."""
        return self.spec if self.spec is not None and self.spec.deletion_requested_at is None else None


async def observe_scene(session: AsyncSession, cluster_id: str) -> Scene:
    """From the facts and from what was said before."""
    spec = await facts.fact_of(session, ClusterSpec, f"clusters/{cluster_id}")
    found = await facts.fact_of(session, ClusterInfrastructure, f"clusters/{cluster_id}/infrastructure")
    available = found is not None and found.body.phase is InfrastructurePhase.AVAILABLE
    return Scene(
        spec=spec.body if spec else None,
        endpoint=found.body.endpoint if found is not None and available else None,
        progress=await store.progress_of(session, cluster_id),
    )


@dataclass
class ClusterReconciler:
    """Observe, define, apply, look at what came of it."""

    database: Database
    clock: Clock
    announcer: Announcer
    random: Random
    credentials: Credentials
    clusters: Clusters
    releases: ReleaseImages
    machine: Machine
    settings: Settings
    metrics: AddonMetrics
    kind: str = KIND

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """One look at the cluster; returns when to look again, None once it is being deleted."""
        async with self.database.reading() as session:
            scene = await observe_scene(session, lease.key)
        spec = scene.living
        if spec is None:
            await self._forget(lease, scene)
            return None
        images = self.releases.images(spec.release)
        if scene.endpoint is None:
            await self._keep(lease, spec, self._waiting(spec, images, scene))
            return self.settings.repair_every
        addons = define_addons(Inputs(spec, self.machine, images, Endpoint.of(scene.endpoint)))
        progress = self._intended(spec, addons, scene)
        if progress != scene.progress and not await self._keep(lease, spec, progress.values()):
            return timedelta(0)
        if not await self._bring(lease, spec, addons, progress):
            return timedelta(0)
        return self._next_look(progress.values())

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """The reason is shown on every addon that is not what it should be."""
        scene = await observe_scene(session, key)
        spec = scene.living
        if spec is None:
            return
        now = self.clock.now()
        final = isinstance(refusal, GiveUp)
        for definition in DEFINITIONS:
            before = scene.progress.get(definition.name)
            known = before or begin(key, definition.name, spec.release, now)
            await self._say(session, before, decide_refused(known, refusal.reason, now, final=final))

    def _waiting(self, spec: ClusterSpec, images: Mapping[str, str], scene: Scene) -> list[Progress]:
        now = self.clock.now()
        found = []
        for definition in DEFINITIONS:
            version = definition.base_version(spec, images)
            before = scene.progress.get(definition.name) or begin(spec.cluster_id, definition.name, version, now)
            found.append(decide_waiting(before, now))
        return found

    def _intended(self, spec: ClusterSpec, addons: Sequence[Addon], scene: Scene) -> dict[str, Progress]:
        now = self.clock.now()
        intended = {}
        for addon in addons:
            before = scene.progress.get(addon.name) or begin(spec.cluster_id, addon.name, addon.version, now)
            intended[addon.name] = decide_applying(before, addon.version, now)
        return intended

    async def _bring(
        self, lease: Lease, spec: ClusterSpec, addons: Sequence[Addon], progress: dict[str, Progress]
    ) -> bool:
        """Apply what is due and look at the pods; False when the spec changed meanwhile."""
        try:
            credential = await self.credentials.of(lease.key)
            async with self.clusters.connect(credential) as api:
                due = any(self._is_due(each) for each in progress.values())
                managed = await api.managed() if due else ()
                for addon in addons:
                    before = progress[addon.name]
                    after = await self._bring_one(api, addon, before, managed)
                    progress[addon.name] = after
                    if after != before and not await self._keep(lease, spec, [after]):
                        return False
        except RetryLater as refusal:
            if refusal.reason.code == "CredentialExpired":
                self.credentials.forget(lease.key)
            if all(each.is_installed for each in progress.values()):
                refusal.after = TROUBLE_LOOK
            raise
        return True

    async def _bring_one(
        self, api: ClusterApi, addon: Addon, before: Progress, managed: Sequence[ManagedObject]
    ) -> Progress:
        now = self.clock.now()
        try:
            if self._is_due(before):
                await self._apply(api, addon, before, [each for each in managed if each.addon == addon.name])
                before = decide_applied(before, len(addon.manifests), now)
            statuses = [await api.workload(reference) for reference in addon.workloads]
        except GiveUp as refusal:
            log.warning("Addon refused", cluster=before.state.cluster_id, addon=addon.name, reason=str(refusal))
            self.metrics.refused.labels(addon=addon.name, code=refusal.reason.code).inc()
            return decide_refused(before, refusal.reason, now, final=True)
        return decide_available(before, statuses, now, self.settings.patience)

    async def _apply(self, api: ClusterApi, addon: Addon, before: Progress, managed: Sequence[ManagedObject]) -> None:
        context = {"cluster": before.state.cluster_id, "addon": addon.name}
        known = {each.reference: each.version for each in managed}
        if not before.is_installed:
            log.info("Applying an addon", version=addon.version, **context)
        for manifest in addon.manifests:
            reference = ObjectReference.of(manifest)
            with crash.effect("addon_manager.apply"):
                version = await api.apply(manifest)
            self.metrics.applied.labels(addon=addon.name).inc()
            if before.is_installed and known.get(reference) != version:
                log.warning("Object differed from its definition", object=str(reference), **context)
                self.metrics.repaired.labels(addon=addon.name).inc()
        for found in managed:
            if found.reference not in addon.references:
                log.info("Deleting an object that no definition has", object=str(found.reference), **context)
                with crash.effect("addon_manager.delete"):
                    await api.delete(found)
                self.metrics.deleted.labels(addon=addon.name).inc()

    async def _forget(self, lease: Lease, scene: Scene) -> None:
        self.credentials.forget(lease.key)
        async with self.database.transaction() as session:
            await work.require(session, lease)
            for before in scene.progress.values():
                await self._announce(session, before, decide_removed(before, self.clock.now()))
            await store.forget_cluster(session, lease.key)

    async def _keep(self, lease: Lease, spec: ClusterSpec, progress: Iterable[Progress]) -> bool:
        """Commit what is known, and keep the lease; False when the cluster should by now be something else."""
        async with self.database.transaction() as session:
            await work.extend(session, self.clock, lease, self.settings.lease_for)
            scene = await observe_scene(session, lease.key)
            for after in progress:
                await self._say(session, scene.progress.get(after.state.addon), after)
        return scene.spec == spec

    async def _say(self, session: AsyncSession, before: Progress | None, after: Progress) -> None:
        if before == after:
            return
        if before is None or before.state != after.state:
            await self._announce(session, before, after)
        await store.save(session, [after])

    async def _announce(self, session: AsyncSession, before: Progress | None, after: Progress) -> None:
        subject = f"clusters/{after.state.cluster_id}/addons/{after.state.addon}"
        await self.announcer.announce(session, event_of(before, after), subject, after.state)

    def _is_due(self, progress: Progress) -> bool:
        if not progress.is_installed or progress.applied_at is None:
            return True
        return self.clock.now() - progress.applied_at >= self.settings.repair_every

    def _next_look(self, progress: Iterable[Progress]) -> timedelta:
        looks = [self._look_after(each) for each in progress]
        return max(min(looks), timedelta(0)) * self.random.uniform(1.0, 1.1)

    def _look_after(self, progress: Progress) -> timedelta:
        if progress.state.phase is AddonPhase.DEGRADED:
            return TROUBLE_LOOK
        if progress.applied_at is None or progress.unavailable_since is not None:
            return self.settings.settle_every
        return progress.applied_at + self.settings.repair_every - self.clock.now()
