"""What the healer owns: which nodes should exist, holds, and the record of its refusals."""

from datetime import timedelta
from enum import StrEnum

from pydantic import Field

from slipway_contracts.api import NodeSpec
from slipway_contracts.envelope import Body, Event
from slipway_contracts.values import DnsLabel, Id, Instant, Reason, Role, Value

DECISION_VALID_FOR = timedelta(minutes=2)
"""A removal or reboot that the provisioner did not start within this time is reported as stale."""


class Wanted(StrEnum):
    """What the healer wants of a node."""

    PRESENT = "present"
    REMOVED = "removed"


class NodeRow(Value):
    """One row of a pool's node table: all that the provisioner needs to make this node so."""

    node_id: Id
    name: DnsLabel
    pool_id: Id
    role: Role
    zone: str | None = None
    spec: NodeSpec
    wanted: Wanted = Wanted.PRESENT
    incarnation: int = Field(default=1, ge=1, description="only grows; each one is another server for the same node")
    reboots: int = Field(default=0, ge=0, description="only grows; each one is one reboot")
    update: int = Field(default=0, ge=0, description="only grows; each one is another in-place plan")
    replaces: Id | None = Field(default=None, description="the worker that this one takes the place of")
    drain: bool = Field(default=True, description="a removal of a working node drains it first")
    reason: Reason | None = Field(default=None, description="why the node is removed or made anew")
    decided_at: Instant
    valid_until: Instant = Field(description="a removal or reboot not started by then is stale")


class NodeTable(Body):
    """The complete node table of one pool. A node that is not in it is left alone."""

    cluster_id: Id
    pool_id: Id
    cluster_generation: int
    operation_id: Id
    target: int = Field(ge=0)
    nodes: tuple[NodeRow, ...]


class PoolBelowTarget(Event[NodeTable], noun="pool", verb="below_target", owner="healer"):
    """The pool has fewer working nodes than it should; the table says which are wanted."""


class PoolAboveTarget(Event[NodeTable], noun="pool", verb="above_target", owner="healer"):
    """The pool has more nodes than it should; the table says which go."""


class PoolAtTarget(Event[NodeTable], noun="pool", verb="at_target", owner="healer"):
    """The pool has what it should have."""


class PoolRemoved(Event[NodeTable], noun="pool", verb="removed", owner="healer", ends=True):
    """The pool is gone with its cluster, or was removed from it; its table is empty."""


class Hold(StrEnum):
    """What keeps ordinary healing of a cluster back."""

    NONE = "none"
    PAUSE = "pause"
    UPGRADE = "upgrade"
    ROTATION = "rotation"
    RESTORE = "restore"
    DELETION = "deletion"


class ClusterHold(Body):
    """The hold of one cluster."""

    cluster_id: Id
    hold: Hold
    operation_id: Id | None = None
    since: Instant


class ClusterHoldChanged(Event[ClusterHold], noun="cluster", verb="hold_changed", owner="healer"):
    """The hold of a cluster is now this."""


class Gate(StrEnum):
    """The gates of healing, in their order; a refusal names its gate."""

    LISTED = "provisioner_list_known"
    HOLD = "hold"
    KNOWN = "unknown_is_not_unhealthy"
    WITNESSES = "two_witnesses"
    PATIENCE = "long_enough"
    BLAST_RADIUS = "blast_radius"
    ROLE_SAFETY = "role_safety"
    RETRY_CAP = "retry_cap"
    TOKENS = "token_bucket"


class Refusal(Value):
    """One thing that the healer would have done and did not: the gate, its inputs, when it looks again."""

    gate: Gate
    node_id: Id | None = None
    reason: Reason
    inputs: dict[str, str | int | float | bool | None] = {}
    look_again_at: Instant


class PoolRefusals(Body):
    """All current refusals of one pool; empty when nothing is refused."""

    cluster_id: Id
    pool_id: Id
    refusals: tuple[Refusal, ...]


class HealingRefused(Event[PoolRefusals], noun="healing", verb="refused", owner="healer"):
    """The current refusals of a pool changed."""
