"""What agents ask of the provisioner, independent of the transport (paths: contracts' agent module).

A node's token is bound to the first public key that claims it. From then on only the holder of that key speaks for
the node, and it gets only what the node's own plan names.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import work
from slipway_chassis.clock import Clock
from slipway_chassis.telemetry import Tracing
from slipway_contracts.agent import (
    CertificateRequests,
    Certificates,
    Claim,
    Claimed,
    PlanReport,
    SignedCertificate,
)
from slipway_provisioner.answers import Answer, Refused, parse, problem
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.pki import (
    BACKDATED,
    Authority,
    AuthorityName,
    CannotSign,
    CertificateProfile,
    key_fingerprint,
    read_request,
    sign_public_key,
    sign_request,
)
from slipway_provisioner.metrics import ProvisionerMetrics
from slipway_provisioner.peers import PeerIdentity, PeerKind
from slipway_provisioner.plan_traces import reporting
from slipway_provisioner.plan_watch import PlanWatch
from slipway_provisioner.store_agents import AgentRow, is_token
from slipway_provisioner.store_keys import read_cluster_keys
from slipway_provisioner.store_plans import PlanRow, mark_handed_out, overtake, profiles_of, read_plan, record_report

log = structlog.get_logger()

NODE_KIND = "node"
"""The work queue's kind of the nodes' reconciler."""

LONGEST_WAIT = timedelta(seconds=55)
"""Load balancers cut silent connections after a minute."""

MOST_REQUESTS = 32
"""Certificates in one call; a controller's plan names twelve."""

Transaction = Callable[[], AbstractAsyncContextManager[AsyncSession]]


@dataclass(frozen=True)
class AgentEndpoint:
    """What this region's agents are told and served."""

    authority: Authority
    """Signs the agents' own certificates."""
    trust_pem: str
    """The CAs that sign the services' and the agents' certificates."""
    observe_url: str
    program: bytes = field(repr=False)
    observe_every: float = 10.0
    """Seconds."""


class AgentApi:
    """One region's interface for agents. `transaction` wakes the workers after its commit."""

    def __init__(
        self,
        endpoint: AgentEndpoint,
        master: MasterKey,
        clock: Clock,
        transaction: Transaction,
        reading: Transaction,
        registry: CollectorRegistry,
        tracing: Tracing | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._master = master
        self._clock = clock
        self._transaction = transaction
        self._reading = reading
        self._watch = PlanWatch(reading, clock)
        self._tracing = tracing or Tracing()
        self._metrics = ProvisionerMetrics(registry)

    def stop(self) -> None:
        """Let agents go that wait for a plan."""
        self._watch.stop()

    async def dispatch(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        peer: PeerIdentity | None,
    ) -> Answer:
        """Answer one request; `peer` is who the handshake verified, if anybody."""
        try:
            match method, path:
                case "GET", "/v1/agent/program":
                    return Answer(HTTPStatus.OK, self._endpoint.program)
                case "GET", "/v1/agent/time":
                    return Answer(HTTPStatus.OK, {"now": self._clock.now().isoformat()})
                case "POST", "/v1/agent/claim":
                    return await self._claim(parse(Claim, body))
                case "GET", "/v1/agent/plan":
                    return await self._plan(_node_of(peer), _number(query, "after"), _number(query, "wait"))
                case "POST", "/v1/agent/certificates":
                    return await self._certificates(_node_of(peer), parse(CertificateRequests, body))
                case "POST", "/v1/agent/report":
                    return await self._report(_node_of(peer), parse(PlanReport, body))
            return problem(HTTPStatus.NOT_FOUND, "NotFound", f"agents have no {method} {path}")
        except Refused as refused:
            return refused.answer

    async def _claim(self, claim: Claim) -> Answer:
        try:
            key = read_request(claim.csr_pem)
        except CannotSign as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", str(error)) from error
        now = self._clock.now()
        async with self._transaction() as session:
            row = await session.get(AgentRow, claim.node_id, with_for_update=True)
            if row is None or not is_token(row, claim.token):
                return self._refuse_claim(claim, "UnknownToken", "this token is not the node's; its server is stale")
            refusal = self._bind(row, claim, key_fingerprint(key), now)
            await work.mark_dirty(session, NODE_KIND, row.node_id, now)
            if refusal is not None:
                return refusal
            profile = _agent_profile(row)
        certificate = sign_public_key(self._endpoint.authority, key, profile, now)
        log.info("Agent claimed its node", node_id=claim.node_id, hostname=claim.hostname, version=claim.agent_version)
        claimed = Claimed(
            certificate_pem=certificate,
            ca_pem=self._endpoint.trust_pem,
            observe_url=self._endpoint.observe_url,
            observe_every=self._endpoint.observe_every,
        )
        return Answer(HTTPStatus.OK, claimed.model_dump(mode="json"))

    def _bind(self, row: AgentRow, claim: Claim, fingerprint: str, now: datetime) -> Answer | None:
        """Bind the token to the key, or say why not. The key that has it may come again at any time."""
        if row.key_fingerprint is None and now > row.token_until:
            return self._refuse_claim(claim, "TokenExpired", "the node was not claimed in time; it will be replaced")
        if row.key_fingerprint not in (None, fingerprint):
            row.refused_claims += 1
            return self._refuse_claim(claim, "TokenTaken", "another key has claimed this node before")
        row.clock_skew = (claim.clock - now).total_seconds()
        if row.clock_skew < -BACKDATED.total_seconds():
            message = f"the machine's clock is {-row.clock_skew:.0f} s behind; its certificates would not be valid yet"
            return self._refuse_claim(claim, "ClockSkew", message, HTTPStatus.CONFLICT)
        row.key_fingerprint = fingerprint
        row.claimed_at = row.claimed_at or now
        row.hostname, row.agent_version, row.boot_id = (
            claim.hostname[:255],
            claim.agent_version[:64],
            claim.boot_id[:64],
        )
        return None

    def _refuse_claim(self, claim: Claim, code: str, detail: str, status: HTTPStatus = HTTPStatus.FORBIDDEN) -> Answer:
        log.warning("Claim refused", node_id=claim.node_id, code=code, hostname=claim.hostname)
        self._metrics.claims_refused.labels(code=code).inc()
        return problem(status, code, detail)

    async def _plan(self, peer: PeerIdentity, after: int, wait: int) -> Answer:
        answer = await self._newer_plan(peer, after)
        patience = min(timedelta(seconds=wait), LONGEST_WAIT)
        if answer is None and patience > timedelta(0) and await self._watch.wait(peer.name, after, patience):
            answer = await self._newer_plan(peer, after)
        return answer or Answer(HTTPStatus.NO_CONTENT)

    async def _newer_plan(self, peer: PeerIdentity, after: int) -> Answer | None:
        async with self._reading() as session:
            await _require_agent(session, peer)
            row = await session.get(PlanRow, peer.name)
            behind = row is not None and row.revision < after
        if behind:
            # the agent has a plan that our database, restored from a backup, has forgotten
            log.warning("An agent knows a newer plan than we do", node_id=peer.name, revision=after)
            async with self._transaction() as session:
                await overtake(session, peer.name, after)
        async with self._reading() as session:
            row = await session.get(PlanRow, peer.name)
            if row is None or row.revision <= after:
                return None
            plan = await read_plan(session, self._master, peer.name)
            handed_out = row.handed_out_at is not None
        if not handed_out:
            async with self._transaction() as session:
                await mark_handed_out(session, peer.name, self._clock.now())
        return Answer(HTTPStatus.OK, plan.model_dump(mode="json")) if plan is not None else None

    async def _certificates(self, peer: PeerIdentity, wanted: CertificateRequests) -> Answer:
        async with self._reading() as session:
            agent = await _require_agent(session, peer)
            plan = await session.get(PlanRow, peer.name)
            if plan is None or plan.revision != wanted.revision:
                raise Refused(HTTPStatus.CONFLICT, "AnotherRevision", "the plan has another revision by now; get it")
            keys = await read_cluster_keys(session, self._master, agent.cluster_id)
            profiles = profiles_of(plan)
        if keys is None:
            raise Refused(HTTPStatus.CONFLICT, "ClusterIsGone", "the cluster's keys do not exist any more")
        signed = sign_all(keys.authorities, profiles, wanted, self._clock.now())
        log.info("Certificates signed", node_id=peer.name, names=[each.name for each in signed.certificates])
        return Answer(HTTPStatus.OK, signed.model_dump(mode="json"))

    async def _report(self, peer: PeerIdentity, report: PlanReport) -> Answer:
        if report.node_id != peer.name:
            raise Refused(HTTPStatus.FORBIDDEN, "AnotherNode", "an agent reports about its own node only")
        now = self._clock.now()
        async with self._transaction() as session:
            await _require_agent(session, peer)
            row = await session.get(PlanRow, peer.name, with_for_update=True)
            if row is None:
                return Answer(HTTPStatus.NO_CONTENT)
            with reporting(self._tracing, row, report, now):
                if record_report(row, report, now):
                    await work.mark_dirty(session, NODE_KIND, peer.name, now)
        return Answer(HTTPStatus.NO_CONTENT)


def sign_all(
    authorities: Mapping[AuthorityName, Authority],
    profiles: Mapping[str, CertificateProfile],
    wanted: CertificateRequests,
    now: datetime,
) -> Certificates:
    """Every request is signed strictly by the profile of its name in the node's plan, or none is."""
    if len(wanted.requests) > MOST_REQUESTS:
        raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "TooMany", f"at most {MOST_REQUESTS} certificates in one call")
    signed = []
    for request in wanted.requests:
        profile = profiles.get(request.name)
        if profile is None:
            raise Refused(HTTPStatus.FORBIDDEN, "NotInPlan", f"the node's plan names no certificate {request.name}")
        try:
            certificate = sign_request(authorities[profile.authority], request.csr_pem, profile, now)
        except CannotSign as error:
            raise Refused(HTTPStatus.UNPROCESSABLE_ENTITY, "CannotSign", f"{request.name}: {error}") from error
        signed.append(SignedCertificate(name=request.name, certificate_pem=certificate))
    return Certificates(certificates=tuple(signed))


def _agent_profile(row: AgentRow) -> CertificateProfile:
    return CertificateProfile(
        authority=AuthorityName.AGENT, common_name=row.node_id, organizations=(row.cluster_id,), client=True
    )


def _node_of(peer: PeerIdentity | None) -> PeerIdentity:
    if peer is None or peer.kind is not PeerKind.AGENT:
        raise Refused(HTTPStatus.UNAUTHORIZED, "NoAgentCertificate", "claim the node first, then show its certificate")
    return peer


async def _require_agent(session: AsyncSession, peer: PeerIdentity) -> AgentRow:
    """The agent's row, if this key is the one that claimed the node's present server."""
    row = await session.get(AgentRow, peer.name)
    if row is None or row.key_fingerprint != peer.key_fingerprint:
        raise Refused(HTTPStatus.FORBIDDEN, "NotThisNode", "this key does not speak for the node: it is gone or anew")
    return row


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "0")
    if not text.isdecimal() or len(text) > 9:
        raise Refused(HTTPStatus.BAD_REQUEST, "InvalidQuery", f"{name} must be a whole number")
    return int(text)
