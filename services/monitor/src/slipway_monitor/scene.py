"""All that is known of one cluster before a look at it: other services' facts and the monitor's own rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts
from slipway_contracts.agent import Observation
from slipway_contracts.api import ClusterSpec
from slipway_contracts.monitor import NodeHealth
from slipway_contracts.provisioner import ClusterInfrastructure, InfrastructurePhase, NodeState
from slipway_monitor import store
from slipway_monitor.domain.model import AgentView, CloudLook, ServerView, Watched
from slipway_monitor.ports import Target
from slipway_monitor.store import AlertRecord, ClusterRecord, HeardRecord, NodeRecord, ServerRecord

COMMITTED_WITHIN = timedelta(seconds=5)
"""Another replica's row may become visible a little after the time that it carries."""


@dataclass(frozen=True)
class Scene:
    """One cluster as known now."""

    cluster_id: str
    spec: ClusterSpec | None
    infrastructure: ClusterInfrastructure | None
    over: bool
    nodes: tuple[Watched, ...]
    records: Mapping[str, NodeRecord]
    record: ClusterRecord
    alerts: Mapping[str, AlertRecord]
    agents: Mapping[str, AgentView]
    heard_lately: tuple[tuple[str, datetime], ...]
    cloud: CloudLook

    @property
    def deleting(self) -> bool:
        """Whether the user asked for its deletion: from then on nothing that vanishes is a surprise."""
        return self.spec is not None and self.spec.deletion_requested_at is not None

    @property
    def target(self) -> Target | None:
        """How to reach the API, once it answered through the endpoint."""
        known = self.infrastructure
        if known is None or known.phase is not InfrastructurePhase.AVAILABLE or self.deleting:
            return None
        if known.endpoint is None or known.ca_pem is None:
            return None
        return Target(self.cluster_id, known.endpoint, known.ca_pem)

    def heard_elsewhere(self, node_id: str) -> datetime | None:
        """When the agent of any other node of the region was heard last."""
        return max((at for other, at in self.heard_lately if other != node_id), default=None)


async def observe_scene(session: AsyncSession, cluster_id: str, region: str) -> Scene:
    """Read everything about the cluster in one snapshot."""
    subject = f"clusters/{cluster_id}"
    spec = await facts.fact_of(session, ClusterSpec, subject)
    infrastructure = await facts.fact_of(session, ClusterInfrastructure, f"{subject}/infrastructure", ended=True)
    states = [fact.body for fact in await facts.facts_of(session, NodeState, cluster_id=cluster_id)]
    records = await store.nodes_of(session, cluster_id)
    record = await store.cluster_of(session, cluster_id) or ClusterRecord(cluster_id=cluster_id)
    ended = infrastructure is not None and infrastructure.ended
    foreign = spec is not None and spec.body.region != region
    return Scene(
        cluster_id=cluster_id,
        spec=spec.body if spec else None,
        infrastructure=infrastructure.body if infrastructure and not ended else None,
        over=ended or foreign or (spec is None and infrastructure is None and not states),
        nodes=tuple(_watched(state, records.get(state.node_id)) for state in states),
        records=records,
        record=record,
        alerts=await store.open_alerts(session, cluster_id),
        agents=_agents(await store.heard_of(session, cluster_id)),
        heard_lately=tuple(await store.last_heard(session)),
        cloud=await _cloud(session, states, region),
    )


async def refresh_scene(session: AsyncSession, scene: Scene, region: str) -> Scene:
    """The same cluster where nothing was marked dirty since: only the region's round and its agents moved on.

    An agent may push to another replica, which marks nothing dirty where it says nothing new.
    """
    remembered = await store.region_of(session, region)
    newest = max((view.received_at for view in scene.agents.values()), default=None)
    since = None if newest is None else newest - COMMITTED_WITHIN
    heard = _agents(await store.heard_of(session, scene.cluster_id, since))
    return replace(
        scene,
        agents={**scene.agents, **heard},
        heard_lately=tuple(await store.last_heard(session)),
        cloud=CloudLook(remembered.listed_at, scene.cloud.servers),
    )


def _agents(rows: Sequence[HeardRecord]) -> dict[str, AgentView]:
    return {row.node_id: AgentView(row.received_at, Observation.model_validate_json(row.document)) for row in rows}


def _watched(state: NodeState, record: NodeRecord | None) -> Watched:
    if record is None:
        return Watched(state)
    said = NodeHealth.model_validate_json(record.health) if record.health else None
    return Watched(state, said, record.ready_in, record.announced_at)


async def _cloud(session: AsyncSession, states: list[NodeState], region: str) -> CloudLook:
    remembered = await store.region_of(session, region)
    wanted = [state.server_id for state in states if state.server_id is not None]
    rows = await store.servers_by_id(session, wanted)
    return CloudLook(remembered.listed_at, {server_id: view_of(row) for server_id, row in rows.items()})


def view_of(row: ServerRecord) -> ServerView:
    """The stored server as the domain sees it."""
    return ServerView(
        server_id=row.server_id,
        project_id=row.project_id,
        status=row.status,
        task_state=row.task_state,
        updated=row.updated,
        cluster_id=row.cluster_id,
        node_id=row.node_id,
        fault=row.fault,
    )


def row_of(view: ServerView) -> ServerRecord:
    """The server as it is stored."""
    return ServerRecord(
        server_id=view.server_id,
        project_id=view.project_id,
        cluster_id=view.cluster_id,
        node_id=view.node_id,
        status=view.status,
        task_state=view.task_state,
        fault=view.fault,
        updated=view.updated,
    )
