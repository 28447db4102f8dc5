"""One round over the region's servers: a constant number of lists, and a few servers asked for by id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from slipway_chassis.errors import RetryLater
from slipway_contracts.values import Reason
from slipway_monitor.domain.model import NOT_FOUND, ServerView
from slipway_monitor.ports import ServerList

OVERLAP = timedelta(seconds=30)
"""A change is asked for again for so long: a cloud's rows become visible a little after the time that they carry."""

ASKED_AT_ONCE = 10
"""Servers asked for by id in one round; the rest waits for the next."""


@dataclass(frozen=True)
class Known:
    """What is known before the round."""

    projects: Sequence[str]
    cursor: datetime | None
    full: bool
    listed: Mapping[str, str]
    """Servers of nodes that were listed and not gone, with their projects."""
    unlisted: Mapping[str, str]
    """Servers of nodes that no list has shown yet."""


@dataclass(frozen=True)
class Round:
    """What the round saw. A failure means that it saw nothing."""

    servers: Sequence[ServerView] = ()
    unreached: Mapping[str, Reason] = field(default_factory=dict)
    cursor: datetime | None = None
    failure: Reason | None = None


async def observe_servers(cloud: ServerList, known: Known) -> Round:
    """List what changed, or everything; then ask by id for what should be there and was not seen."""
    since = None if known.full or known.cursor is None else known.cursor - OVERLAP
    try:
        page = await cloud.list(known.projects, since)
        missing = {**(known.listed if since is None else {}), **known.unlisted}
        ours = [each for each in page.servers if each.node_id is not None or each.server_id in missing]
        seen = {each.server_id for each in page.servers}
        doubtful = [
            (server, project)
            for server, project in missing.items()
            if server not in seen and project not in page.unreached
        ]
        for server_id, project_id in doubtful[:ASKED_AT_ONCE]:
            ours.append(await _ask(cloud, project_id, server_id))
    except RetryLater as failure:
        return Round(cursor=known.cursor, failure=failure.reason)
    newest = [each.updated for each in page.servers if each.updated is not None]
    if known.cursor is not None:
        newest.append(known.cursor)
    return Round(ours, page.unreached, max(newest, default=None))


async def _ask(cloud: ServerList, project_id: str, server_id: str) -> ServerView:
    found = await cloud.get(project_id, server_id)
    if found is None:
        return ServerView(server_id, project_id, NOT_FOUND, None, None)
    return found
