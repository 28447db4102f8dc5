"""Changes of a cluster's record, each announced in the transaction that makes it."""

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.work import Lease
from slipway_contracts.provisioner import InfrastructurePhase
from slipway_provisioner.announcing import announce_cluster
from slipway_provisioner.context import Context, cluster_record
from slipway_provisioner.domain.pki import AuthorityName
from slipway_provisioner.store import ClusterRecord
from slipway_provisioner.store_keys import ClusterKeyRow

_ORDER = tuple(InfrastructurePhase)
"""A cluster's shared parts only move on in this order."""


class Clusters:
    """The records of the clusters' shared parts."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def announce(self, session: AsyncSession, cluster: ClusterRecord) -> None:
        """Say how the shared parts are, if that is new."""
        row = await session.get(ClusterKeyRow, (cluster.cluster_id, AuthorityName.KUBERNETES.value))
        await announce_cluster(session, self._context.announcer, cluster, row.public_pem if row is not None else None)

    async def enter(self, lease: Lease, cluster: ClusterRecord, phase: InfrastructurePhase) -> None:
        """Move on to this phase; nothing happens when it is there or further already."""
        if _ORDER.index(InfrastructurePhase(cluster.phase)) >= _ORDER.index(phase):
            return
        await self.change(lease, cluster, phase=phase.value, since=self._context.now(), waiting=None)

    async def step_done(self, lease: Lease, cluster: ClusterRecord, step: str, **changes: object) -> None:
        """A step of the shared parts is done; nothing happens when it was."""
        if step in cluster.done:
            return
        await self.change(lease, cluster, done=[*cluster.done, step], waiting=None, **changes)

    async def clear(self, lease: Lease) -> None:
        """Nothing refused the cluster this time."""
        async with self._context.holding(lease) as session:
            stored = await cluster_record(session, lease.key)
            if stored is not None:
                stored.waiting = None
                await self.announce(session, stored)

    async def change(self, lease: Lease, cluster: ClusterRecord, **changes: object) -> None:
        """Change the record and the copy at hand alike, and say so."""
        async with self._context.holding(lease) as session:
            stored = await cluster_record(session, cluster.cluster_id)
            assert stored is not None, "records of clusters stay"
            for each in (stored, cluster):
                for name, value in changes.items():
                    setattr(each, name, value)
            await self.announce(session, stored)
