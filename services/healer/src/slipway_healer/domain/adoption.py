"""How the healer's nodes and the provisioner's report of them become one picture.

The healer's row rules, but what grows only grows (incarnation, reboots, update: the greater of own and reported), a
removal that cannot be withdrawn is accepted, and nodes that the healer does not know are adopted: so a healer that
lost its database, or got an old one back, goes on where it was.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from slipway_contracts.healer import Wanted
from slipway_contracts.monitor import NodeHealth
from slipway_contracts.provisioner import NodePhase, NodeState
from slipway_healer.domain.model import SERVER_ON_ITS_WAY, Node


def merge(
    own: Sequence[Node],
    reported: Iterable[NodeState],
    ended: Mapping[str, NodeState],
    health: Mapping[str, NodeHealth],
    *,
    removed: Collection[str] = (),
    listed_at: datetime | None = None,
) -> list[Node]:
    """The nodes that there are: own ones without those that ended, and unknown ones of the report.

    `removed` are nodes that ended before, whatever is reported; `listed_at` is when the provisioner's complete list
    was received.
    """
    reports = {report.node_id: report for report in reported if report.phase is not NodePhase.REMOVED}
    known = {node.node_id for node in own} | set(removed)
    nodes = [node for node in own if not _has_ended(node, ended.get(node.node_id))]
    nodes = [node for node in nodes if node.node_id in reports or not _never_was(node, listed_at)]
    nodes += [adopted(report) for node_id, report in sorted(reports.items()) if node_id not in known]
    nodes = [replace(node, listed_at=listed_at) for node in nodes]
    return [_joined(node, reports.get(node.node_id), health.get(node.node_id)) for node in nodes]


def adopted(report: NodeState) -> Node:
    """A node that only the provisioner knows, as the healer would have it."""
    row = report.row
    began = report.created_at
    if row.incarnation > 1:
        began = row.decided_at if report.phase in SERVER_ON_ITS_WAY else report.joined_at or row.decided_at
    return Node(
        node_id=report.node_id,
        cluster_id=report.cluster_id,
        pool_id=report.pool_id,
        name=row.name,
        role=row.role,
        zone=row.zone,
        spec=row.spec,
        wanted=row.wanted,
        incarnation=row.incarnation,
        reboots=row.reboots,
        update=row.update,
        replaces=row.replaces,
        drain=row.drain,
        reason=row.reason,
        decided_at=row.decided_at,
        valid_until=row.valid_until,
        minted_at=report.created_at,
        incarnation_at=began,
        ever_joined=report.joined_at is not None,
    )


def _has_ended(node: Node, ending: NodeState | None) -> bool:
    # an end by absence from a list ends only what was to be removed: what is wanted, the provisioner will be told again
    return ending is not None and (not node.is_present or ending.phase is NodePhase.REMOVED)


def is_awaited(node: Node, now: datetime) -> bool:
    """Whether only the provisioner's complete list can tell what became of a node that was to be removed."""
    return not node.is_present and node.report is None and now > node.valid_until


def _never_was(node: Node, listed_at: datetime | None) -> bool:
    # taken back before the provisioner heard of it
    return not node.is_present and listed_at is not None and listed_at > node.valid_until


def _joined(node: Node, report: NodeState | None, health: NodeHealth | None) -> Node:
    node = replace(node, report=report, health=health)
    if report is None:
        return node
    row = report.row
    if row.incarnation > node.incarnation:
        node = replace(node, incarnation=row.incarnation, incarnation_at=row.decided_at)
    node = replace(
        node,
        reboots=max(node.reboots, row.reboots),
        update=max(node.update, row.update),
        ever_joined=node.ever_joined or report.joined_at is not None,
    )
    if node.is_present and node.is_leaving_for_good:
        node = replace(node, wanted=Wanted.REMOVED, drain=row.drain, reason=row.reason)
    return node
