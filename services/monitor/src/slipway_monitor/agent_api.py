"""What agents may say to the monitor, without a transport: one call, that of an observation.

Answers are (status, body): 204 taken, 401 no certificate, 403 another node's, 404 and 405 no such call, 422 no
observation, 503 not stored now, say it again. Bodies of errors are problem details (RFC 9457).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from slipway_chassis import facts, work
from slipway_chassis.database import is_away, is_conflict
from slipway_chassis.service import Service
from slipway_contracts.agent import EtcdObservation, Observation
from slipway_contracts.provisioner import NodeState
from slipway_monitor import store
from slipway_monitor.domain.model import AgentView
from slipway_monitor.listening import Heard
from slipway_monitor.metrics import MonitorMetrics
from slipway_monitor.reconciler_cluster import KIND as CLUSTER
from slipway_monitor.store import HeardRecord

PATH = "/v1/agent/observations"

STORE_EVERY = timedelta(seconds=30)
"""An observation that says nothing new is stored as often, for other replicas and the next start."""

Answer = tuple[int, dict[str, Any] | None]


@dataclass(frozen=True)
class PeerIdentity:
    """Who calls, as its verified certificate says: CN is the node, O the cluster."""

    node_id: str
    cluster_id: str


@dataclass
class ObservationApi:
    """Takes observations: kept in memory, stored when they say something new."""

    service: Service
    heard: Heard
    metrics: MonitorMetrics

    async def dispatch(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        peer: PeerIdentity | None,
    ) -> Answer:
        """One call."""
        status, title, detail = await self._dispatch(method, path, body, peer)
        self.metrics.observations.labels(outcome=str(status)).inc()
        return status, None if status == 204 else {"status": status, "title": title, "detail": detail}

    async def _dispatch(
        self, method: str, path: str, body: Mapping[str, Any] | None, peer: PeerIdentity | None
    ) -> tuple[int, str, str]:
        if path != PATH:
            return 404, "No such call", f"The monitor takes POST {PATH} only"
        if method != "POST":
            return 405, "Not allowed", f"Use POST on {PATH}"
        if peer is None:
            return 401, "No certificate", "Present the certificate that the claim was answered with"
        try:
            observation = Observation.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            return 422, "No observation", f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
        if observation.node_id != peer.node_id:
            return 403, "Another node's observation", f"This certificate is for node {peer.node_id}"
        try:
            await self._take(observation, peer)
        except Exception as error:
            if not is_away(error) and not is_conflict(error):
                raise
            return 503, "Not stored", "The monitor's database is away or busy; send the next observation as usual"
        return 204, "", ""

    async def _take(self, observation: Observation, peer: PeerIdentity) -> None:
        now = self.service.clock.now()
        node_id, digest = observation.node_id, _digest(observation)
        self.heard.hear(AgentView(now, observation))
        news = self.heard.is_news(node_id, digest)
        if not news and not self.heard.must_be_stored(node_id, now, STORE_EVERY):
            return
        row = HeardRecord(
            node_id=node_id,
            cluster_id=peer.cluster_id,
            received_at=now,
            digest=digest,
            document=observation.model_dump_json(),
        )
        async with self.service.transaction() as session:
            subject = f"clusters/{peer.cluster_id}/nodes/{node_id}"
            if await facts.fact_of(session, NodeState, subject) is None:
                return
            stored = await store.heard_from(session, node_id)
            await store.save(session, row)
            if stored is None or stored.digest != digest:
                await work.mark_dirty(session, CLUSTER, peer.cluster_id, now)
        self.heard.stored(node_id, digest, now)


def _digest(observation: Observation) -> str:
    """What it says, without when and without the wording of what probes saw."""
    said = {
        "boot": observation.boot_id,
        "revision": observation.applied_revision,
        "units": sorted((unit.name, unit.state.value) for unit in observation.units),
        "probes": sorted((probe.name, probe.healthy) for probe in observation.probes),
        "etcd": None if observation.etcd is None else _members(observation.etcd),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _members(etcd: EtcdObservation) -> list[object]:
    members = [(each.member_id, each.name, each.peer_url, each.learner, each.healthy) for each in etcd.members]
    return [etcd.member_id, etcd.leader_id, sorted(members)]
