"""A service on fakes and a stepping clock, fed with events and stepped by hand."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway_addon_manager import store
from slipway_addon_manager.app import Parts, build_service
from slipway_addon_manager.settings import Settings
from slipway_addon_manager.testing import ENDPOINT, FakeCluster, FakeClusters, FakeSigning, some_releases
from slipway_chassis.clock import SteppingClock
from slipway_chassis.ids import new_id
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_chassis.outbox import Outgoing
from slipway_chassis.service import Service
from slipway_chassis.signing import KeptCredentials
from slipway_contracts.addon_manager import AddonState
from slipway_contracts.api import ClusterSpecChanged
from slipway_contracts.envelope import Event, parse_event, sequence_text
from slipway_contracts.provisioner import ClusterInfrastructure, ClusterInfrastructureReady, ControlPlaneAvailable
from slipway_contracts.testing import a_cluster_spec

CLUSTER = "c1"


@dataclass
class Stage:
    """One addon manager with its surroundings."""

    service: Service
    clock: SteppingClock
    signing: FakeSigning
    clusters: FakeClusters
    said: list[Event[Any]] = field(default_factory=list)

    @property
    def cluster(self) -> FakeCluster:
        return self.clusters.of(CLUSTER)

    async def hear(self, event_class: type[Event[Any]], subject: str, body: Any, source: str) -> None:
        """The event arrives."""
        now = self.clock.now()
        self.clock.step(timedelta(microseconds=1))
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
        receipt = await self.service.receive(event.to_json())
        assert receipt.cause is None

    async def spec(self, **changes: Any) -> None:
        """The api says what the cluster should be."""
        await self.hear(ClusterSpecChanged, f"clusters/{CLUSTER}", a_cluster_spec(CLUSTER, **changes), "api/global")

    async def infrastructure(self, phase: str = "available") -> None:
        """The provisioner says how far the shared parts are."""
        event_class = ControlPlaneAvailable if phase == "available" else ClusterInfrastructureReady
        body = ClusterInfrastructure.model_validate(
            {"cluster_id": CLUSTER, "phase": phase, "since": self.clock.now(), "endpoint": ENDPOINT, "ca_pem": "ca"}
        )
        await self.hear(event_class, f"clusters/{CLUSTER}/infrastructure", body, "provisioner/tokyo")

    async def work(self) -> None:
        """Everything that is due now, and what it says."""
        for _ in range(50):
            if not await self.service.work_once():
                break
        else:
            raise AssertionError("the work does not come to rest")
        while await self.service.relay_once(self._publish):
            pass

    async def wait(self, **duration: float) -> None:
        """Time passes, and what becomes due meanwhile is done at its time."""
        end = self.clock.now() + timedelta(**duration)
        while self.clock.now() < end:
            left, due_in = end - self.clock.now(), await self.service.next_due()
            self.clock.step(left if due_in is None else min(max(due_in, timedelta(seconds=1)), left))
            await self.work()

    def news(self) -> list[tuple[str, str]]:
        """The names of the events said since it was asked last, with their addon."""
        found = [(type(each).__name__, each.data.addon) for each in self.said if isinstance(each.data, AddonState)]
        self.said.clear()
        return found

    async def states(self) -> dict[str, AddonState]:
        """What was last said of each addon that is there."""
        async with self.service.database.reading() as session:
            return {name: each.state for name, each in (await store.progress_of(session, CLUSTER)).items()}

    async def _publish(self, batch: Any) -> list[int]:
        outgoing: list[Outgoing] = list(batch)
        self.said += [parse_event(each.document) for each in outgoing]
        return [each.row_id for each in outgoing]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    clock = SteppingClock()
    database = await an_inline_database(tmp_path / "addon_manager.db", store.metadata)
    signing, clusters = FakeSigning(clock), FakeClusters()
    parts = Parts(
        clock=clock,
        database=database,
        random=random.Random(7),
        credentials=KeptCredentials(signing.sign, clock, timedelta(hours=24)),
        clusters=clusters,
        releases=some_releases(),
    )
    yield Stage(build_service(Settings(region="tokyo"), parts), clock, signing, clusters)
    await database.close()
