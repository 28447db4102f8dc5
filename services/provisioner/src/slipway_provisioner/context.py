"""What all reconcilers of the provisioner work with. Wired in app.py, or by a simulation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts, work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.outbox import Announcer
from slipway_chassis.regions import Region
from slipway_chassis.work import Lease
from slipway_contracts.api import ClusterSpec
from slipway_provisioner.ledger import Ledger
from slipway_provisioner.ports import Cloud, KubernetesApi
from slipway_provisioner.settings import Settings
from slipway_provisioner.store import ClusterRecord, NodeRecord, nodes_of

CLUSTER, TABLE, NODE, SERVERS, LEDGER = "cluster", "table", "node", "servers", "ledger"
"""The kinds of objects in the work queue: by cluster id, `<cluster id>/<pool id>`, node id, and project id twice."""


@dataclass(frozen=True)
class Context:
    """One region's provisioner."""

    settings: Settings
    region: Region
    database: Database
    clock: Clock
    random: Random
    announcer: Announcer
    cloud: Cloud
    kubernetes: KubernetesApi
    ledger: Ledger = field(repr=False)

    def now(self) -> datetime:
        """The time."""
        return self.clock.now()

    def jittered(self, delay: timedelta) -> timedelta:
        """So that objects do not all come due at once."""
        return delay * self.random.uniform(0.8, 1.2)

    @asynccontextmanager
    async def holding(self, lease: Lease) -> AsyncIterator[AsyncSession]:
        """A transaction that commits only while the lease is ours."""
        async with self.database.transaction() as session:
            await work.require(session, lease)
            yield session

    async def look_at_cluster(self, session: AsyncSession, cluster_id: str) -> None:
        """Something happened that the cluster's shared parts depend on."""
        await work.mark_dirty(session, CLUSTER, cluster_id, self.now())

    async def look_at_node(self, session: AsyncSession, node_id: str) -> None:
        """Something happened that the node depends on."""
        await work.mark_dirty(session, NODE, node_id, self.now())

    async def look_at_nodes(self, session: AsyncSession, cluster_id: str) -> None:
        """Something happened that all nodes of the cluster depend on."""
        for node in await nodes_of(session, cluster_id):
            if node.phase != "removed":
                await self.look_at_node(session, node.node_id)

    async def look_at_servers(self, session: AsyncSession, project_id: str) -> None:
        """A server of the project is about to change."""
        await work.mark_dirty(session, SERVERS, project_id, self.now() + self.settings.poll_changing, shared=True)


async def spec_of(session: AsyncSession, cluster_id: str) -> ClusterSpec | None:
    """The newest desired state of the cluster that the api announced."""
    fact = await facts.fact_of(session, ClusterSpec, f"clusters/{cluster_id}")
    return fact.body if fact is not None else None


async def node_record(session: AsyncSession, node_id: str) -> NodeRecord | None:
    """The node's record, locked until the transaction ends."""
    return await session.get(NodeRecord, node_id, with_for_update=True)


async def cluster_record(session: AsyncSession, cluster_id: str) -> ClusterRecord | None:
    """The cluster's record, locked until the transaction ends."""
    return await session.get(ClusterRecord, cluster_id, with_for_update=True)
