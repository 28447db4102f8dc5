"""A provisioner on a bench: fakes around it, a stepping clock, agents that do what their plans say at once."""

import copy
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from prometheus_client import CollectorRegistry
from sqlalchemy import func, select

from slipway_chassis import work
from slipway_chassis.clock import SteppingClock
from slipway_chassis.database import Database
from slipway_chassis.inline_sqlite import an_inline_database
from slipway_chassis.outbox import Outgoing
from slipway_chassis.regions import Region
from slipway_chassis.releases import Releases
from slipway_chassis.service import Service
from slipway_chassis.tables import work as work_table
from slipway_contracts.agent import PlanReport
from slipway_contracts.envelope import Event, parse_event
from slipway_contracts.healer import NodeRow
from slipway_contracts.provisioner import ClusterInfrastructure, NodePhase, NodeState, ServerState, StepState
from slipway_contracts.values import Role
from slipway_node_agent.config import BOOTSTRAP_PATH
from slipway_provisioner.app import Parts, build_agent_api, build_service
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.model import Kind, ServerOrder
from slipway_provisioner.domain.pki import Authority, key_fingerprint, make_authority, make_request, read_certificate
from slipway_provisioner.peers import PeerAuthorities, PeerIdentity, PeerKind
from slipway_provisioner.settings import Settings
from slipway_provisioner.testing.builders import (
    START,
    a_cluster,
    a_region,
    pool_changed,
    rows_of,
    some_releases,
    spec_changed,
)
from slipway_provisioner.testing.cloud import FakeCloud
from slipway_provisioner.testing.etcd import FakeEtcd
from slipway_provisioner.testing.kubernetes import FakeKubernetes
from slipway_provisioner.testing.things import Thing

TICK = timedelta(seconds=1)
SHORT = timedelta(seconds=3)
"""Leases and unknown outcomes last so long here: a test steps through each second of them."""

ASKS_EVERY = timedelta(seconds=10)
"""An agent whose plan is applied asks for a newer one this often."""

_FIRST_LEASE_TO_END = select(func.min(work_table.c.lease_until))


@dataclass
class FakeAgent:
    """The agent on one server: claims, and reports its plan as applied."""

    node_id: str
    server_id: str
    peer: PeerIdentity
    applied: int = 0
    asks_at: datetime = START
    plan: dict[str, Any] = field(default_factory=dict)
    """The one that it got last."""


@dataclass
class Bench:
    """One provisioner that can be killed and started again on the same database."""

    database: Database
    cloud: FakeCloud
    clock: SteppingClock
    kubernetes: FakeKubernetes
    settings: Settings
    service_authority: Authority
    agent_authority: Authority
    agents: dict[str, FakeAgent] = field(default_factory=dict)
    """By server id."""
    requests: dict[str, str] = field(default_factory=dict)
    """By server id: the agent claims again with the same key when the answer was lost."""
    refused: dict[str, datetime] = field(default_factory=dict)
    """Servers whose claim was refused, and when they try again."""
    silent: set[str] = field(default_factory=set)
    """Names of nodes whose agents never come up."""
    slow: set[str] = field(default_factory=set)
    """Ids of nodes whose agents do not end what they begin."""
    published: list[Event[Any]] = field(default_factory=list)
    etcd: FakeEtcd = field(default_factory=FakeEtcd)
    region: Region = field(default_factory=a_region)
    releases: Releases = field(default_factory=some_releases)
    """As the next process reads them."""
    agent_version: str = "1"
    """Of agents that claim from now on."""
    starts: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process on the same database, with chances of its own."""
        self.starts += 1
        self.parts = Parts(
            clock=self.clock,
            database=self.database,
            random=Random(self.starts),
            cloud=self.cloud,
            kubernetes=self.kubernetes,
            region=self.region,
            releases=self.releases,
            master=MasterKey(b"k" * 32),
            authorities=PeerAuthorities(self.service_authority.certificate_pem, self.agent_authority.certificate_pem),
            agent_authority=self.agent_authority,
            program=b"the agent",
            registry=CollectorRegistry(),
        )
        self.service: Service = build_service(self.settings, self.parts)
        self.agent_api = build_agent_api(self.service, self.parts)

    # -- its database

    def back_up(self, file: Path) -> None:
        """Copy the database as it is now."""
        with closing(sqlite3.connect(self._file)) as now, closing(sqlite3.connect(file)) as copy:
            now.backup(copy)

    def restore(self, file: Path) -> None:
        """The database is again as it was when it was copied to this file; the process starts anew."""
        with closing(sqlite3.connect(file)) as copy, closing(sqlite3.connect(self._file)) as now:
            copy.backup(now)
        self.start()

    @property
    def _file(self) -> str:
        file = self.database.engine.url.database
        assert file is not None, "a bench's database is a file"
        return file

    # -- what others say

    async def want(self, spec: Any) -> None:
        """The api announces a spec."""
        self.clock.step(timedelta(milliseconds=1))
        await self.service.receive(spec_changed(spec, self.clock.now()))

    async def table(self, role: Role, *rows: NodeRow) -> None:
        """The healer announces a node table."""
        self.clock.step(timedelta(milliseconds=1))
        await self.service.receive(pool_changed(rows, self.clock.now(), role=role))

    # -- time

    async def settle(self) -> None:
        """Let the service, the agents and the relay do all that is to do now."""
        for _ in range(200):
            busy = False
            while await self.service.work_once():
                busy = True
            while await self.service.relay_once(self._publish):
                pass
            busy = await self._agents_act() or busy
            if not busy:
                return
        raise AssertionError("the provisioner did not come to rest")

    async def pass_time(self, seconds: float) -> None:
        """Let time pass in ticks; those in which nothing is due for anybody only move the clock."""
        end = self.clock.now() + timedelta(seconds=seconds)
        await self.settle()
        due = await self._due()
        while self.clock.now() < end:
            self.clock.step(min(TICK, end - self.clock.now()))
            if await self._agents_act() or self.clock.now() >= due:
                await self.settle()
                due = await self._due()

    async def _due(self) -> datetime:
        """When the service has something to do next, or a lease ends that a killed process held."""
        async with self.database.reading() as session:
            due = await work.next_due(session, self.service.kinds)
            held = (await session.execute(_FIRST_LEASE_TO_END)).scalar_one_or_none()
        return min((each for each in (due, held) if each is not None), default=datetime.max.replace(tzinfo=UTC))

    async def _publish(self, batch: Any) -> list[int]:
        message: Outgoing
        for message in batch:
            self.published.append(parse_event(message.document))
        return [message.row_id for message in batch]

    # -- what was said

    def nodes(self) -> dict[str, NodeState]:
        """The newest state announced of each node, by name."""
        bodies = [event.data for event in self.published if isinstance(event.data, NodeState)]
        return {body.row.name: body for body in bodies}

    def infrastructure(self) -> ClusterInfrastructure:
        """The newest state announced of the shared parts."""
        return [event.data for event in self.published if isinstance(event.data, ClusterInfrastructure)][-1]

    def types(self) -> list[str]:
        """The types of all events, in their order."""
        return [event.type for event in self.published]

    # -- agents

    async def _agents_act(self) -> bool:
        busy = False
        for server in self.cloud.of_kind(Kind.SERVER):
            assert isinstance(server.order, ServerOrder)
            view = await FakeCloud.server(self.cloud, server.project_id, server.cloud_id)
            if view is None or view.state is not ServerState.ACTIVE or server.order.name in self.silent:
                continue
            busy = await self._agent_acts(server, server.order) or busy
        return busy

    async def _agent_acts(self, server: Thing, order: ServerOrder) -> bool:
        agent = self.agents.get(server.cloud_id)
        if agent is None:
            if self.clock.now() < self.refused.get(server.cloud_id, START):
                return False
            agent = await self._claim(server, order)
            if agent is None:
                self.refused[server.cloud_id] = self.clock.now() + ASKS_EVERY
                return False
            self.agents[server.cloud_id] = agent
            return True
        if self.clock.now() < agent.asks_at:
            return False
        agent.asks_at = self.clock.now() + (ASKS_EVERY if agent.applied else TICK)
        query = {"after": str(agent.applied), "wait": "0"}
        answer = await self.agent_api.dispatch("GET", "/v1/agent/plan", query, None, agent.peer)
        if answer.status == 403:
            del self.agents[server.cloud_id]  # it claims again
            self.refused[server.cloud_id] = self.clock.now() + ASKS_EVERY
        if answer.status != 200 or not isinstance(answer.body, dict):
            return False
        revision = int(answer.body["revision"])
        now = self.clock.now()
        agent.plan = answer.body
        steps = tuple(self.etcd.report(agent.node_id, step, now) for step in answer.body["steps"])
        if agent.node_id in self.slow:
            steps = (*steps[:-1], steps[-1].model_copy(update={"state": StepState.RUNNING}))
        state = next((step.state for step in steps if step.state is not StepState.DONE), StepState.DONE)
        report = PlanReport(node_id=agent.node_id, revision=revision, state=state, steps=steps)
        answer = await self.agent_api.dispatch(
            "POST", "/v1/agent/report", {}, report.model_dump(mode="json"), agent.peer
        )
        if state is StepState.DONE:
            agent.applied = revision
            await self._joins(server, order)
        return True

    async def _claim(self, server: Thing, order: ServerOrder) -> FakeAgent | None:
        bootstrap = read_bootstrap(order.user_data)
        if server.cloud_id not in self.requests:
            _, self.requests[server.cloud_id] = make_request("agent")
        claim = {
            "token": bootstrap["token"],
            "node_id": bootstrap["node_id"],
            "csr_pem": self.requests[server.cloud_id],
            "clock": self.clock.now().isoformat(),
            "hostname": order.name,
            "agent_version": self.agent_version,
            "boot_id": server.cloud_id,
        }
        answer = await self.agent_api.dispatch("POST", "/v1/agent/claim", {}, claim, None)
        if answer.status != 200 or not isinstance(answer.body, dict):
            return None
        key = read_certificate(answer.body["certificate_pem"]).public_key()
        assert isinstance(key, EllipticCurvePublicKey)
        peer = PeerIdentity(
            PeerKind.AGENT,
            bootstrap["node_id"],
            key_fingerprint(key),
            order.mark.cluster_id,
        )
        return FakeAgent(bootstrap["node_id"], server.cloud_id, peer)

    async def _joins(self, server: Thing, order: ServerOrder) -> None:
        if "-etcd-" in order.name:
            return
        endpoint = self.infrastructure().endpoint
        if endpoint is not None:
            self.kubernetes.join(endpoint, order.name, f"openstack:///{server.cloud_id}")


async def up(bench: Bench) -> None:
    """A cluster of 1+1+1 named blue, all of it there."""
    spec = a_cluster()
    await bench.want(spec)
    for role in Role:
        await bench.table(role, *rows_of(spec, role, bench.clock.now()))
    await bench.pass_time(12)
    assert {node.phase for node in bench.nodes().values()} == {NodePhase.PROVISIONED}


def read_bootstrap(user_data: str) -> dict[str, Any]:
    """What cloud-init writes to the agent's bootstrap file."""
    files = yaml.safe_load(user_data)["write_files"]
    (content,) = [each["content"] for each in files if each["path"] == BOOTSTRAP_PATH]
    bootstrap: dict[str, Any] = json.loads(content)
    return bootstrap


@dataclass(frozen=True)
class Picture:
    """A bench as it was, to go on from any number of times."""

    file: Path
    bench: Bench

    async def bench_in(self, folder: Path) -> Bench:
        """Another bench that goes on from there; whoever asks for it closes its database."""
        file = folder / "bench.db"
        shutil.copyfile(self.file, file)
        memo = {id(self.bench.database): await an_inline_database(file)}
        names = (
            "database",
            "cloud",
            "clock",
            "kubernetes",
            "settings",
            "agents",
            "requests",
            "refused",
            "published",
            "etcd",
        )
        parts = copy.deepcopy({name: getattr(self.bench, name) for name in names}, memo)
        return Bench(
            **parts,
            service_authority=self.bench.service_authority,
            agent_authority=self.bench.agent_authority,
            starts=self.bench.starts,
        )


async def a_picture(bench: Bench, file: Path) -> Picture:
    """Take a picture; the bench's database is closed by it."""
    await bench.database.close()
    return Picture(file, bench)


def a_bench(database: Database, *, quota: int = 1000, region: Region | None = None, **settings: Any) -> Bench:
    """A provisioner of the region tokyo."""
    clock = SteppingClock(START)
    return Bench(
        database=database,
        cloud=FakeCloud(clock, quota=quota),
        clock=clock,
        region=region or a_region(),
        kubernetes=FakeKubernetes(),
        settings=Settings(region="tokyo", **{"settle_for": SHORT, "lease_for": SHORT, **settings}),
        service_authority=make_authority("services", START),
        agent_authority=make_authority("agents", START),
    )
