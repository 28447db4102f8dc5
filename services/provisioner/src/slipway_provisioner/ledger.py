"""How the ledger and the cloud are kept one: intent before each create, adoption of what is there, deletion verified.

Nothing is created that the ledger does not name first, nothing is deleted that does not carry the ledger's mark, and
an entry is gone only when the cloud has positively said so. A ledger that was restored from a backup has forgotten what
was made since: a resource's id follows from what it is for, so it is looked for before it is made a first time too.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import crash, work
from slipway_chassis.clock import Clock
from slipway_chassis.database import Database
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_provisioner.domain.model import Found, Kind, Mark, Order
from slipway_provisioner.domain.naming import resource_id_of, resource_name
from slipway_provisioner.domain.reasons import being_deleted, outcome_unknown, still_there
from slipway_provisioner.ports import Cloud, Conflict, OutcomeUnknown
from slipway_provisioner.store import EntryState, LedgerEntry, entry_for

log = structlog.get_logger()

DELETE_AGAIN_AFTER = timedelta(seconds=30)
"""A deletion that was accepted but did not happen is asked for again."""


@dataclass(frozen=True)
class Purpose:
    """What a resource is for: unique in its cluster by `key`."""

    key: str
    kind: Kind
    cluster_id: str
    cluster_name: str
    project_id: str
    label: str
    """Part of its name, for people: etcd, endpoint, or a node's name."""
    node_id: str | None = None
    incarnation: int | None = None

    def mark(self, resource_id: str) -> Mark:
        """By what the resource is recognised."""
        return Mark(resource_id, self.cluster_id, self.node_id, self.incarnation, self.key)

    def name(self, resource_id: str) -> str:
        """The resource's name; a server's is the node's, which is its host name too."""
        if self.kind is Kind.SERVER:
            return self.label
        return resource_name(self.cluster_name, self.label, resource_id)


_ADOPTABLE = frozenset({EntryState.INTENDED.value, EntryState.FOUND.value})
"""Entries whose resource may be in the cloud without a record of its id."""


Ordering = Callable[[AsyncSession, str, Mark], Awaitable[Order]]
"""Makes the order of a resource from its name and mark, in the transaction that commits the intent."""


class Ledger:
    """The ledger of one region, with the cloud beside it."""

    def __init__(self, database: Database, cloud: Cloud, clock: Clock, settle: timedelta) -> None:
        self._database = database
        self._cloud = cloud
        self._clock = clock
        self._settle = settle

    async def ensure(self, lease: Lease, purpose: Purpose, ordering: Ordering) -> str:
        """The resource exists; returns the cloud's id. Raises RetryLater or GiveUp as the cloud does."""
        async with self._database.transaction() as session:
            await work.require(session, lease)
            entry = await entry_for(session, purpose.cluster_id, purpose.key)
            if entry is not None and entry.state == EntryState.CREATED.value and entry.cloud_id:
                return entry.cloud_id
            if entry is not None and entry.state == EntryState.GONE.value:
                await self._change(session, entry, state=EntryState.INTENDED.value, cloud_id=None)
            if entry is not None and entry.state not in _ADOPTABLE:
                raise being_deleted(entry.name)
            tried_at = entry.attempted_at if entry is not None else None
            known = entry is not None
            entry = entry or self._intend(session, purpose)
        # a second server is refused by the cloud, for the first one has the port
        if known or purpose.kind is not Kind.SERVER:
            found = await self._adoptable(entry)
            if found is not None:
                return await self._created(lease, purpose, entry, found.cloud_id)
            if tried_at is not None and self._clock.now() < tried_at + self._settle:
                raise outcome_unknown(entry.name, tried_at + self._settle - self._clock.now())
        return await self._create(lease, purpose, entry, ordering)

    def _intend(self, session: AsyncSession, purpose: Purpose) -> LedgerEntry:
        now = self._clock.now()
        resource_id = resource_id_of(purpose.cluster_id, purpose.key)
        entry = LedgerEntry(
            resource_id=resource_id,
            cluster_id=purpose.cluster_id,
            key=purpose.key,
            node_id=purpose.node_id,
            kind=purpose.kind.value,
            name=purpose.name(resource_id),
            project_id=purpose.project_id,
            created_at=now,
            changed_at=now,
        )
        session.add(entry)
        return entry

    async def _create(self, lease: Lease, purpose: Purpose, entry: LedgerEntry, ordering: Ordering) -> str:
        mark = purpose.mark(entry.resource_id)
        async with self._database.transaction() as session:
            await work.require(session, lease)
            order = await ordering(session, entry.name, mark)
            await self._change(session, entry, attempted_at=self._clock.now())
        log.info("Creating resource", kind=entry.kind, name=entry.name, cluster_id=entry.cluster_id)
        try:
            with crash.effect(f"provisioner.create_{purpose.kind.value}"):
                cloud_id = await self._cloud.create(purpose.project_id, order)
        except OutcomeUnknown:
            raise
        except Conflict:
            found = await self._adoptable(entry)
            if found is None:
                await self._not_attempted(lease, entry)
                raise
            cloud_id = found.cloud_id
        except (RetryLater, GiveUp):
            await self._not_attempted(lease, entry)
            raise
        return await self._created(lease, purpose, entry, cloud_id)

    async def _adoptable(self, entry: LedgerEntry) -> Found | None:
        found = await self._cloud.find(entry.project_id, Kind(entry.kind), entry.name, entry.resource_id)
        best = min(found, key=lambda each: each.status == "ERROR", default=None)
        if best is not None:
            log.info("Adopting resource", kind=entry.kind, name=entry.name, cloud_id=best.cloud_id)
        return best

    async def _created(self, lease: Lease, purpose: Purpose, entry: LedgerEntry, cloud_id: str) -> str:
        """Tags come in a call of their own for some kinds, so they come before the entry is created for good."""
        tags = purpose.mark(entry.resource_id).tags
        await self._cloud.ensure_tags(purpose.project_id, purpose.kind, cloud_id, tags)
        async with self._database.transaction() as session:
            await work.require(session, lease)
            await self._change(session, entry, state=EntryState.CREATED.value, cloud_id=cloud_id, attempted_at=None)
        return cloud_id

    async def _not_attempted(self, lease: Lease, entry: LedgerEntry) -> None:
        async with self._database.transaction() as session:
            await work.require(session, lease)
            await self._change(session, entry, attempted_at=None)

    async def ensure_gone(self, lease: Lease, entry: LedgerEntry, *, seen_gone: bool = False) -> None:
        """Ask for the resource's deletion; returns once the cloud has positively said that it is not there.

        `seen_gone`: somebody has already made sure of that. Raises RetryLater with the reason while the deletion is
        refused or takes its time.
        """
        if entry.state == EntryState.GONE.value:
            return
        kind = Kind(entry.kind)
        if entry.state != EntryState.DELETING.value:
            await self._deleting(lease, entry)
        if not (seen_gone and entry.cloud_id):
            targets = [entry.cloud_id] if entry.cloud_id else await self._unrecorded(entry)
            for cloud_id in targets:
                await self._delete(lease, entry, kind, cloud_id)
        await self.mark_gone(lease, entry)

    async def _deleting(self, lease: Lease, entry: LedgerEntry) -> None:
        async with self._database.transaction() as session:
            await work.require(session, lease)
            changes: dict[str, object] = {"state": EntryState.DELETING.value}
            if entry.cloud_id:
                changes["attempted_at"] = None
            await self._change(session, entry, **changes)

    async def _unrecorded(self, entry: LedgerEntry) -> list[str]:
        """What was asked for and never recorded; waits until nothing can appear any more."""
        found = await self._cloud.find(entry.project_id, Kind(entry.kind), entry.name, entry.resource_id)
        if not found and entry.attempted_at is not None:
            settled_at = entry.attempted_at + self._settle
            if self._clock.now() < settled_at:
                raise outcome_unknown(entry.name, settled_at - self._clock.now())
        return [each.cloud_id for each in found]

    async def _delete(self, lease: Lease, entry: LedgerEntry, kind: Kind, cloud_id: str) -> None:
        asked_at = entry.attempted_at if entry.cloud_id else None
        again = asked_at is None or self._clock.now() >= asked_at + DELETE_AGAIN_AFTER
        if again:
            log.info("Deleting resource", kind=kind.value, name=entry.name, cloud_id=cloud_id)
            with crash.effect(f"provisioner.delete_{kind.value}"):
                await self._cloud.delete(entry.project_id, kind, cloud_id)
        # the list of the project's servers tells when one is gone: one call for all of them
        if (again or kind is not Kind.SERVER) and await is_gone(self._cloud, entry.project_id, kind, cloud_id):
            return
        if again and entry.cloud_id:
            async with self._database.transaction() as session:
                await work.require(session, lease)
                await self._change(session, entry, attempted_at=self._clock.now())
        raise still_there(kind, entry.name)

    async def mark_gone(self, lease: Lease, entry: LedgerEntry) -> None:
        """Write down that the resource is verified gone, by itself or with what it was a part of."""
        async with self._database.transaction() as session:
            await work.require(session, lease)
            await self._change(session, entry, state=EntryState.GONE.value, attempted_at=None)

    async def mark_lost(self, lease: Lease, purpose: Purpose) -> None:
        """The resource of this purpose was deleted behind our back; RetryLater when the cloud shows it after all."""
        async with self._database.reading() as session:
            entry = await entry_for(session, purpose.cluster_id, purpose.key)
        assert entry is not None, "only what the ledger has can be lost"
        assert entry.cloud_id is not None, "only what was there can be lost"
        await self._cloud.answers(entry.project_id)
        if not await is_gone(self._cloud, entry.project_id, purpose.kind, entry.cloud_id):
            raise still_there(purpose.kind, entry.name)
        await self.mark_gone(lease, entry)

    async def _change(self, session: AsyncSession, entry: LedgerEntry, **changes: object) -> None:
        """Change the stored entry and the copy at hand alike."""
        stored = await session.get(LedgerEntry, entry.resource_id)
        assert stored is not None, "entries stay until they are gone, and after that as tombstones"
        for each in (stored, entry):
            each.changed_at = self._clock.now()
            for name, value in changes.items():
                setattr(each, name, value)


async def is_gone(cloud: Cloud, project_id: str, kind: Kind, cloud_id: str) -> bool:
    """Whether the cloud positively says, twice, that there is none, and answers another call in between.

    A single 404 may come from a broken proxy or a database that lags; an error is not an answer at all.
    """
    if await cloud.get(project_id, kind, cloud_id) is not None:
        return False
    if kind is not Kind.SERVER:
        return True
    await cloud.answers(project_id)
    return await cloud.get(project_id, kind, cloud_id) is None
