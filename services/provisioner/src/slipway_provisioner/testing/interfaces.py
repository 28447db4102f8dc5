"""The interfaces for agents and services on a bench: one cluster, its keys, and nodes whose agents ask for plans."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from slipway_chassis.clock import Clock, SteppingClock
from slipway_chassis.database import Database
from slipway_contracts.values import Role
from slipway_provisioner.agent_api import AgentApi, AgentEndpoint
from slipway_provisioner.answers import Answer
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.cluster_keys import ClusterKeys
from slipway_provisioner.domain.pki import (
    Authority,
    AuthorityName,
    CertificateProfile,
    make_authority,
    make_request,
    read_certificate,
    sign_request,
)
from slipway_provisioner.domain.plans.model import PlanInputs
from slipway_provisioner.domain.plans.render import render_plan
from slipway_provisioner.domain.plans.testing import CLUSTER_ID, STARTED_AT, plan_inputs
from slipway_provisioner.onboarding import Onboarding
from slipway_provisioner.peers import PeerAuthorities, PeerIdentity
from slipway_provisioner.signing import SigningApi
from slipway_provisioner.store import ClusterRecord
from slipway_provisioner.store_agents import mint_agent_token
from slipway_provisioner.store_keys import ensure_cluster_keys
from slipway_provisioner.store_plans import store_plan

PROGRAM = b"the agent's program"
OBSERVE_URL = "https://monitor.example:9443"


@dataclass
class Interfaces:
    """Both interfaces over one database; the clock is stepped by whoever sleeps on it."""

    database: Database
    url: str = "https://provisioner.example:8443"
    clock: Clock = field(default_factory=lambda: SteppingClock(STARTED_AT))
    master: MasterKey = field(default_factory=lambda: MasterKey(b"k" * 32))

    def __post_init__(self) -> None:
        self.services = make_authority("services", self.clock.now())
        agents = make_authority("agents", self.clock.now())
        self.adopt(PeerAuthorities(self.services.certificate_pem, agents.certificate_pem), agents)

    def adopt(self, authorities: PeerAuthorities, agents: Authority) -> None:
        """Serve under these authorities."""
        self.authorities, self.agents = authorities, agents
        endpoint = AgentEndpoint(agents, authorities.bundle, OBSERVE_URL, PROGRAM)
        self.agent_api = AgentApi(
            endpoint, self.master, self.clock, self.database.transaction, self.database.reading, CollectorRegistry()
        )
        self.signing_api = SigningApi(self.master, self.clock, self.database.reading)

    async def add_cluster(self, **changes: Any) -> ClusterKeys:
        """A cluster with an endpoint and keys; `changes` go into its record."""
        known: dict[str, Any] = {
            "project_id": "project",
            "name": "demo",
            "since": self.clock.now(),
            "endpoint_address": "10.0.0.5",
        }
        async with self.database.transaction() as session:
            session.add(ClusterRecord(cluster_id=CLUSTER_ID, **(known | changes)))
            return await ensure_cluster_keys(session, self.master, CLUSTER_ID, self.clock.now())

    async def add_node(self, role: Role, *, incarnation: int = 1, until: datetime | None = None) -> str:
        """A server of the role's first node is born with this token."""
        ends = until or self.clock.now() + timedelta(minutes=10)
        node_id = plan_inputs(role).node.node_id
        async with self.database.transaction() as session:
            return await mint_agent_token(session, self.master, CLUSTER_ID, node_id, incarnation, ends)

    async def user_data(self, role: Role) -> str:
        """What that server is born with."""
        onboarding = Onboarding(self.url, self.authorities.services_pem, PROGRAM, self.master)
        async with self.database.transaction() as session:
            until = self.clock.now() + timedelta(minutes=10)
            return await onboarding.user_data(session, CLUSTER_ID, plan_inputs(role).node.node_id, 1, until)

    async def plan(self, role: Role, **changes: Any) -> int:
        """The role's first node has the plan that follows from these inputs; returns its revision."""
        return await self.keep(plan_inputs(role, **changes))

    async def keep(self, inputs: PlanInputs) -> int:
        """As plan, from whole inputs; under the cluster's own keys."""
        node_id, controller = inputs.node.node_id, inputs.node.role is Role.CONTROLLER
        async with self.database.transaction() as session:
            keys = await ensure_cluster_keys(session, self.master, CLUSTER_ID, self.clock.now())
            rendered = render_plan(replace(inputs, keys=keys.for_plan(controller=controller)))
            return await store_plan(session, self.master, CLUSTER_ID, node_id, rendered, self.clock.now())

    def service(self, name: str, authority: Authority | None = None) -> PeerIdentity | None:
        """The peer that shows a certificate of this name, signed by the services' authority or another."""
        profile = CertificateProfile(authority=AuthorityName.AGENT, common_name=name, client=True)
        certificate = sign_request(authority or self.services, make_request(name)[1], profile, self.clock.now())
        return self.authorities.identify(read_certificate(certificate))


@dataclass
class Caller:
    """An agent's key, and what it learns by it."""

    bench: Interfaces
    node_id: str
    token: str
    peer: PeerIdentity | None = None

    def __post_init__(self) -> None:
        _, self.csr = make_request("whatever")

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str | int) -> Answer:
        """One request with what identity there is."""
        parameters = {name: str(value) for name, value in query.items()}
        return await self.bench.agent_api.dispatch(method, f"/v1/agent/{path}", parameters, body, self.peer)

    async def claim(self, **changes: Any) -> Answer:
        """Claim the node; an accepted claim gives the identity."""
        body = {
            "token": self.token,
            "node_id": self.node_id,
            "csr_pem": self.csr,
            "clock": self.bench.clock.now().isoformat(),
            "hostname": "machine",
            "agent_version": "1",
            "boot_id": "boot",
        }
        answer = await self.ask("POST", "claim", body | changes)
        if answer.status == 200 and isinstance(answer.body, dict):
            self.peer = self.bench.authorities.identify(read_certificate(answer.body["certificate_pem"]))
        return answer

    async def report(self, revision: int, *steps: tuple[str, str], **more: Any) -> Answer:
        """Report these steps as (name, state); the plan's state is that of the last one."""
        now = self.bench.clock.now().isoformat()
        reports = [{"name": name, "state": state, "since": now} | more for name, state in steps]
        body = {"node_id": self.node_id, "revision": revision, "state": steps[-1][1], "steps": reports}
        return await self.ask("POST", "report", body)


async def a_caller(bench: Interfaces, role: Role) -> Caller:
    """The agent of the role's first node, not known yet."""
    return Caller(bench, plan_inputs(role).node.node_id, await bench.add_node(role))
