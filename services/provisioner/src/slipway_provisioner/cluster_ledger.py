"""The shared parts of one cluster in the ledger: by key, made again under the next number when one was lost."""

from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.work import Lease
from slipway_provisioner.context import Context
from slipway_provisioner.domain.model import Kind, Mark, Order
from slipway_provisioner.ledger import Ordering, Purpose
from slipway_provisioner.ports import Ordered
from slipway_provisioner.store import ClusterRecord, EntryState, LedgerEntry, newest_under


@dataclass(frozen=True)
class ClusterLedger:
    """See ports.EndpointParts; while this lease is ours."""

    context: Context
    lease: Lease
    cluster: ClusterRecord = field(repr=False)
    label: str = "endpoint"
    """Part of the parts' names, for people."""

    @property
    def project_id(self) -> str:
        """See ports.EndpointParts."""
        return self.cluster.project_id

    @property
    def cluster_name(self) -> str:
        """See ports.EndpointParts."""
        return self.cluster.name

    async def ensure(self, kind: Kind, key: str, order: Ordered) -> str:
        """See ports.EndpointParts."""
        numbered, entry = await self._newest(key)
        if entry is not None and entry.state == EntryState.CREATED.value and entry.cloud_id:
            return entry.cloud_id
        if entry is not None and entry.state == EntryState.DELETING.value:
            await self.context.ledger.ensure_gone(self.lease, entry)
            numbered, _ = await self._newest(key)
        return await self.context.ledger.ensure(self.lease, self._purpose(kind, numbered), _ordering(order))

    async def known(self, key: str) -> str | None:
        """See ports.EndpointParts."""
        _, entry = await self._newest(key)
        return entry.cloud_id if entry is not None and entry.state == EntryState.CREATED.value else None

    async def lost(self, kind: Kind, key: str) -> None:
        """See ports.EndpointParts."""
        numbered, entry = await self._newest(key)
        if entry is not None and entry.state == EntryState.CREATED.value and entry.cloud_id:
            await self.context.ledger.mark_lost(self.lease, self._purpose(kind, numbered))

    async def take_away(self, key: str) -> None:
        """See ports.EndpointParts."""
        _, entry = await self._newest(key)
        if entry is not None:
            await self.context.ledger.ensure_gone(self.lease, entry)

    async def _newest(self, key: str) -> tuple[str, LedgerEntry | None]:
        """The numbered key of the resource that is not gone, or of the one to come, and the former's entry."""
        async with self.context.database.reading() as session:
            return await newest_under(session, self.cluster.cluster_id, key)

    def _purpose(self, kind: Kind, numbered: str) -> Purpose:
        cluster = self.cluster
        return Purpose(numbered, kind, cluster.cluster_id, cluster.name, cluster.project_id, self.label)


def _ordering(order: Ordered) -> Ordering:
    async def make(_session: AsyncSession, name: str, mark: Mark) -> Order:
        return order(name, mark)

    return make
