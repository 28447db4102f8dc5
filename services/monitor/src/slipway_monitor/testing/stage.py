"""A stage on which a test steps the monitor on a clock."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.ids import new_id
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_chassis.testing import MemoryBus
from slipway_contracts.agent import EtcdObservation
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.envelope import Event, event_of, sequence_text
from slipway_contracts.provisioner import (
    ClusterInfrastructure,
    ControlPlaneAvailable,
    NodeProvisioned,
    NodeState,
)
from slipway_contracts.resync import ClusterFactsAnnounced
from slipway_contracts.values import Role
from slipway_monitor.agent_api import PATH, PeerIdentity
from slipway_monitor.app import Parts, build_observation_api, build_service
from slipway_monitor.listening import Heard
from slipway_monitor.settings import Settings
from slipway_monitor.store import metadata
from slipway_monitor.testing.builders import BEAT, MOMENT, REGION, START, an_observation
from slipway_monitor.testing.fakes import FakeClusters, FakeServers

STRIDE = timedelta(seconds=20)


class Stage:
    """The monitor on a stepping clock with fakes around it."""

    def __init__(self, database: Database, clock: SteppingClock, settings: Settings) -> None:
        self.clock = clock
        self.servers = FakeServers(clock)
        self.clusters = FakeClusters(clock)
        self._database = database
        self._settings = settings
        self.restart()
        self.bus = MemoryBus([])
        self.agents: dict[str, str] = {}
        self.etcd: dict[str, EtcdObservation] = {}
        """What the agents of etcd's nodes see of its members."""
        self._order = 0
        self._next_beat = clock.now() + BEAT

    def restart(self) -> None:
        """The process dies and a new one starts on the same database: what was in memory is gone."""
        heard = Heard(self.clock.now())
        parts = Parts(self.clock, self._database, Random(1), self.servers, self.clusters, heard)
        self.service = build_service(self._settings, parts)
        self.api = build_observation_api(self.service, parts)

    async def tell(
        self, event_class: type[Event[Any]], subject: str, body: Any, source: str = "provisioner/sandbox"
    ) -> str:
        """Another service announces something; returns what became of the message."""
        self._order += 1
        now = self.clock.now()
        event = event_class(
            id=new_id(now, Random(self._order)),
            type=event_class.TYPE,
            source=source,
            subject=subject,
            time=now,
            region=REGION,
            sequence=sequence_text(self._order),
            data=body,
        )
        return (await self.service.receive(event.to_json())).disposition.value

    async def tell_node(self, state: NodeState, event_class: type[Event[Any]] = NodeProvisioned) -> None:
        """The provisioner announces a node."""
        await self.tell(event_class, f"clusters/{state.cluster_id}/nodes/{state.node_id}", state)

    async def tell_cluster(self, spec: ClusterSpec, infrastructure: ClusterInfrastructure | None = None) -> None:
        """The api announces a cluster, and the provisioner that it is available."""
        await self.tell(ClusterSpecChanged, f"clusters/{spec.cluster_id}", spec, source="api/global")
        if infrastructure is not None:
            subject = f"clusters/{spec.cluster_id}/infrastructure"
            await self.tell(ControlPlaneAvailable, subject, infrastructure)

    async def bring_up(self, *nodes: NodeState) -> None:
        """The nodes join: servers listed, kubelets registered, agents speaking; and the monitor says so."""
        for node in nodes:
            assert node.server_id is not None
            self.servers.put(node.server_id, cluster_id=node.cluster_id, node_id=node.node_id)
            self.agents[node.node_id] = node.cluster_id
            if node.row.role is not Role.ETCD:
                self.clusters.join(node.cluster_id, node.row.name)
            await self.tell_node(node)
            await self.push(node.node_id, node.cluster_id)
        await self.settle()

    async def push(self, node_id: str, cluster_id: str = "c1", **changes: Any) -> int:
        """An agent pushes an observation; returns the status of the answer."""
        seen = {"etcd": self.etcd.get(node_id)} | changes
        body = an_observation(node_id, self.clock.now(), **seen).model_dump(mode="json")
        status, _ = await self.api.dispatch("POST", PATH, {}, body, PeerIdentity(node_id, cluster_id))
        return status

    async def run(self, duration: timedelta) -> None:
        """Let time pass: kubelets and agents beat every ten seconds, the monitor works whenever something is due."""
        until = self.clock.now() + duration
        due_in = await self.settle()
        while self.clock.now() < until:
            self.clock.step(max(min(due_in, self._next_beat - self.clock.now(), until - self.clock.now()), MOMENT))
            if self.clock.now() >= self._next_beat:
                await self._beat()
            due_in = await self.settle()

    async def drift(self, duration: timedelta) -> None:
        """As `run`, in strides of 20 s: cheaper, where it does not matter when exactly something is seen."""
        until = self.clock.now() + duration
        await self.settle()
        while self.clock.now() < until:
            await self.skip(min(STRIDE, until - self.clock.now()))

    async def skip(self, duration: timedelta) -> None:
        """Let time pass at once: nothing was due meanwhile, everything beats at its end."""
        self.clock.step(duration)
        await self._beat()
        await self.settle()

    async def _beat(self) -> None:
        self._next_beat = self.clock.now() + BEAT
        self.clusters.beat()
        for node_id, cluster_id in self.agents.items():
            await self.push(node_id, cluster_id)

    async def settle(self) -> timedelta:
        """Work whatever is due now, and relay what came of it; returns how long nothing will be due."""
        silent = bool(self.bus.published)
        for _ in range(200):
            due_in = await self.service.next_due()
            if due_in is None or due_in > timedelta(0):
                break
            await self.service.work_once()
            silent = False
        else:
            raise AssertionError("the monitor does not come to rest")
        if not silent:
            await self.service.relay_once(self.bus.publish, limit=1000)
        return due_in or BEAT

    def said(self, *wanted: type[Event[Any]]) -> list[Event[Any]]:
        """The events announced so far, of these classes, or all but repetitions."""
        events = [event_of(json.loads(each.document)) for each in self.bus.published]
        return [
            event
            for event in events
            if (isinstance(event, wanted) if wanted else not isinstance(event, ClusterFactsAnnounced))
        ]

    @contextmanager
    def hearing(self, *wanted: type[Event[Any]]) -> Iterator[list[Event[Any]]]:
        """The events of these classes that are announced while the block runs."""
        before = len(self.said(*wanted))
        heard: list[Event[Any]] = []
        yield heard
        heard.extend(self.said(*wanted)[before:])


@asynccontextmanager
async def a_stage(folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A started monitor on a database of its own."""
    clock = SteppingClock(START)
    database = await an_inline_database(folder / "monitor.db", metadata)
    try:
        stage = Stage(database, clock, Settings(region=REGION, **settings))
        await stage.service.start()
        yield stage
    finally:
        await database.close()
