"""What the cloud says of all servers of a project, read with one list and written down at each node.

A server that a list does not show is unknown, not gone: gone means that two requests by id were answered 404, with a
control call answered in between.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import crash
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import NodePhase, ServerState
from slipway_provisioner.context import SERVERS, Context, node_record
from slipway_provisioner.domain.model import Kind, ServerView
from slipway_provisioner.ledger import is_gone
from slipway_provisioner.store import EntryState, NodeRecord, ProjectWatch, entries_by_id, nodes_in_project

log = structlog.get_logger()

OVERLAP = timedelta(seconds=60)
"""Each list of changes begins so much before the last one: clocks differ, and the cloud counts whole seconds."""

_CHANGING = frozenset({ServerState.BUILDING, ServerState.WORKING, ServerState.DELETING})
_LEAVING = frozenset({NodePhase.REMOVING, NodePhase.REPLACING, NodePhase.REBOOTING})


class ServersReconciler:
    """Kind `servers`, key project id."""

    kind = SERVERS

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, lease: Lease) -> timedelta | None:
        """List, compare, write down; returns when to list again."""
        project_id = lease.key
        async with self._context.database.reading() as session:
            nodes = [node for node in await nodes_in_project(session, project_id) if node.server_id is not None]
            watch = await session.get(ProjectWatch, project_id)
        if not nodes:
            return None
        began = self._context.now()
        full = watch is None or watch.full_at is None or began >= watch.full_at + self._context.settings.full_list_every
        since = None if full or watch is None else watch.changes_since
        listed = await self._context.cloud.servers(project_id, since)
        by_id = {view.server_id: view for view in listed}
        await self._delete_duplicates(lease, [view for view in listed if not view.deleted])
        seen = {node.node_id: await self._seen(node, by_id, full=full) for node in nodes}
        async with self._context.holding(lease) as session:
            await self._remember(session, project_id, began, full=full)
            return await self._write(session, nodes, seen)

    async def _seen(self, node: NodeRecord, by_id: dict[str, ServerView], *, full: bool) -> ServerView | None:
        """What is known now of the node's server; None: nothing new."""
        assert node.server_id is not None, "only nodes with servers are looked at"
        view = by_id.get(node.server_id)
        if view is not None and not view.deleted:
            return view
        if node.server_state == ServerState.GONE.value:
            return None
        doubtful = full or view is not None or node.server_state == ServerState.UNKNOWN.value
        if not doubtful:
            return None
        if await is_gone(self._context.cloud, node.project_id, Kind.SERVER, node.server_id):
            log.info("Server is gone", node_id=node.node_id, server_id=node.server_id)
            return ServerView(node.server_id, node.name, ServerState.GONE, {})
        return await self._context.cloud.server(node.project_id, node.server_id)

    async def _delete_duplicates(self, lease: Lease, listed: Sequence[ServerView]) -> None:
        """A create that came late, from a process thought dead, made a server beside the ledger's one.

        It never gets the port, which the other holds; it carries our ledger id, so it is ours to delete.
        """
        carried = {view.metadata["slipway_resource"]: view for view in listed if "slipway_resource" in view.metadata}
        async with self._context.database.reading() as session:
            entries = {entry.resource_id: entry for entry in await entries_by_id(session, sorted(carried))}
        for view in listed:
            entry = entries.get(view.metadata.get("slipway_resource", ""))
            if entry is None or entry.state == EntryState.INTENDED.value or entry.cloud_id in (None, view.server_id):
                continue
            if view.state is not ServerState.DELETING:
                log.warning("Deleting a second server of one node", name=view.name, server_id=view.server_id)
                with crash.effect("provisioner.delete_duplicate"):
                    await self._context.cloud.delete(lease.key, Kind.SERVER, view.server_id)

    async def _write(
        self, session: AsyncSession, nodes: Sequence[NodeRecord], seen: dict[str, ServerView | None]
    ) -> timedelta:
        changing = False
        for node in nodes:
            stored = await node_record(session, node.node_id)
            view = seen[node.node_id]
            if stored is None or stored.server_id != node.server_id:
                changing = True
                continue
            if view is not None and self._note(stored, view):
                await self._context.look_at_node(session, node.node_id)
            changing = changing or (
                ServerState(stored.server_state) in _CHANGING or NodePhase(stored.phase) in _LEAVING
            )
        settings = self._context.settings
        return settings.poll_changing if changing else self._context.jittered(settings.poll_idle)

    def _note(self, node: NodeRecord, view: ServerView) -> bool:
        """Write down what was seen; True when the node should be looked at."""
        before = (node.server_state, node.zone, node.host, node.fault, node.active_at)
        node.server_state = view.state.value
        node.zone, node.host = view.zone or node.zone, view.host or node.host
        node.fault = view.fault if view.state is ServerState.ERROR else None
        if view.state is ServerState.ACTIVE and node.active_at is None:
            node.active_at = self._context.now()
        return before != (node.server_state, node.zone, node.host, node.fault, node.active_at)

    async def _remember(self, session: AsyncSession, project_id: str, began: datetime, *, full: bool) -> None:
        watch = await session.get(ProjectWatch, project_id)
        if watch is None:
            watch = ProjectWatch(project_id=project_id)
            session.add(watch)
        watch.changes_since = began - OVERLAP
        watch.full_at = began if full else watch.full_at

    async def refused(self, session: AsyncSession, key: str, refusal: RetryLater | GiveUp) -> None:
        """The cloud did not answer; nobody's state becomes worse by that."""
        log.warning("Cannot list servers", project_id=key, reason=refusal.reason.message)
