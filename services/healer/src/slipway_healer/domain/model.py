"""What a decision is made of: nodes as three owners see them, the pool, the cluster, the region, the policy.

A node is the healer's own row, joined with what the provisioner reports and what the monitor's witnesses say.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from slipway_contracts.api import NodeSpec, PoolSpec
from slipway_contracts.healer import DECISION_VALID_FOR, Hold, Refusal, Wanted
from slipway_contracts.monitor import EtcdMembership, NodeHealth, RegionTrust, Verdict, Witness, WitnessName
from slipway_contracts.provisioner import NodePhase, NodeState, ServerState
from slipway_contracts.values import Reason, Role

STABLE = (Role.ETCD, Role.CONTROLLER)
"""Roles whose nodes keep name, port and address; a worker is disposable."""

SERVER_ON_ITS_WAY = (NodePhase.PENDING, NodePhase.CREATING, NodePhase.REPLACING)
"""Phases in which the next server does not exist yet: what is said of a server speaks of the one before."""


@dataclass(frozen=True)
class Policy:
    """The limits of healing, one set for a region."""

    region_fresh_for: timedelta = timedelta(seconds=30)
    witness_fresh_for: timedelta = timedelta(seconds=30)
    reboot_wait: timedelta = timedelta(minutes=5)
    reboot_memory: timedelta = timedelta(hours=1)
    failures_in_a_row: int = 3
    first_backoff: timedelta = timedelta(seconds=30)
    trial_every: timedelta = timedelta(minutes=30)
    blast_nodes: int = 2
    blast_of_pool: float = 0.2
    blast_of_cluster: float = 0.4
    blast_lapses_after: timedelta = timedelta(minutes=30)
    valid_for: timedelta = DECISION_VALID_FOR
    look_again: timedelta = timedelta(seconds=10)
    look_again_without_round: timedelta = timedelta(seconds=60)
    """What waits for a round of the region is looked at when one comes; this is for a round that was lost."""


@dataclass(frozen=True)
class Node:
    """One node: the row that the healer owns, and what the others say of it."""

    node_id: str
    cluster_id: str
    pool_id: str
    name: str
    role: Role
    zone: str | None
    spec: NodeSpec
    decided_at: datetime
    valid_until: datetime
    minted_at: datetime
    incarnation_at: datetime
    """When the present server was decided on: nodes of one moment are one batch."""
    wanted: Wanted = Wanted.PRESENT
    incarnation: int = 1
    reboots: int = 0
    update: int = 0
    replaces: str | None = None
    drain: bool = True
    reason: Reason | None = None
    rebooted_at: datetime | None = None
    ever_joined: bool = False
    report: NodeState | None = field(default=None, compare=False)
    health: NodeHealth | None = field(default=None, compare=False)
    listed_at: datetime | None = field(default=None, compare=False)
    """When the provisioner's complete list of the cluster, with this report or a newer one, was received last."""

    @property
    def is_present(self) -> bool:
        """Whether the node is wanted."""
        return self.wanted is Wanted.PRESENT

    @property
    def is_stable(self) -> bool:
        """Whether a replacement is the same node with another server."""
        return self.role in STABLE

    @property
    def accepted(self) -> NodeState | None:
        """The provisioner's report, if what it says of a server speaks of the present incarnation."""
        report = self.report
        if report is None or report.row.incarnation < self.incarnation:
            return None
        if report.incarnation is not None:
            return report if report.incarnation >= self.incarnation else None
        is_older = report.active_at is not None and report.active_at < self.incarnation_at
        return None if is_older and self.incarnation > 1 else report

    @property
    def joined(self) -> bool:
        """Whether the present server's plan was once applied to its end."""
        report = self.accepted
        return report is not None and report.joined_at is not None and report.phase not in SERVER_ON_ITS_WAY

    @property
    def observed(self) -> NodeHealth | None:
        """What the monitor says of the present server."""
        if self.health is None or self.health.incarnation != self.incarnation:
            return None
        return self.health

    def witness(self, name: WitnessName) -> Witness | None:
        """What this witness says of the present server."""
        observed = self.observed
        if observed is None:
            return None
        return next((each for each in observed.witnesses if each.name is name), None)

    @property
    def main_witness(self) -> Witness | None:
        """The view of those who depend on the node: Kubernetes, or for etcd the other members."""
        if self.role is Role.ETCD:
            return self.witness(WitnessName.ETCD_PEERS)
        return self.witness(WitnessName.KUBERNETES)

    @property
    def independent_witnesses(self) -> tuple[Witness, ...]:
        """Those who see the machine and not its part in the cluster."""
        found = (self.witness(WitnessName.SERVER), self.witness(WitnessName.AGENT))
        return tuple(each for each in found if each is not None)

    @property
    def is_ready(self) -> bool:
        """Whether the node does its work, as seen from the cluster (an etcd member also by its own agent)."""
        if not self.joined or (self.report is not None and self.report.server_state is ServerState.GONE):
            return False
        main = self.main_witness
        if self.role is Role.ETCD and (main is None or main.verdict is Verdict.UNKNOWN):
            # the only member has no others, and at the first look they may not have said anything yet
            main = self.witness(WitnessName.AGENT)
        return main is not None and main.verdict is Verdict.HEALTHY

    @property
    def is_leaving_for_good(self) -> bool:
        """Whether its removal can no longer be withdrawn."""
        return self.report is not None and self.report.phase in (NodePhase.REMOVING, NodePhase.REMOVED)

    @property
    def is_stale(self) -> bool:
        """Whether the provisioner reports that it did not start the present decision in time."""
        return self.report is not None and self.report.stale and self.report.row.decided_at >= self.decided_at


@dataclass(frozen=True)
class Attempts:
    """How the last attempts to get a working node of this pool's spec went."""

    failures: int = 0
    batch: datetime | None = None
    """The moment at which the nodes that failed last were decided on."""
    failed_at: datetime | None = None
    cause: Reason | None = None


@dataclass(frozen=True)
class Memory:
    """What a pool's decisions remember from one to the next."""

    fingerprint: str = ""
    """Of the pool's spec: a new one lifts a quarantine."""
    rendered: str = ""
    """Of labels and taints: a new one asks for a new plan of every node."""
    attempts: Attempts = Attempts()
    blast_since: datetime | None = None
    """Since when the blast radius keeps this pool from being healed."""


@dataclass(frozen=True)
class Pool:
    """What a pool should be, and what its earlier decisions remember."""

    spec: PoolSpec
    memory: Memory = Memory()


@dataclass(frozen=True)
class Cluster:
    """The cluster around the pool."""

    cluster_id: str
    name: str
    hold: Hold
    listed: bool
    """The provisioner's complete list is known since this process started."""
    nodes: tuple[Node, ...]
    """The nodes of all pools."""
    etcd: EtcdMembership | None = None
    """What the monitor says of etcd's members, once it said anything."""


@dataclass(frozen=True)
class Region:
    """How far what is seen of the region may be acted upon."""

    trust: RegionTrust | None
    tokens: int
    next_token_at: datetime


class Awaited(StrEnum):
    """The round of the region that could lift a refusal."""

    ANY = "any"
    TRUSTED = "trusted"
    SEEING = "seeing"
    """One that reaches the cluster."""


class Action(StrEnum):
    """What happens to a node that exists."""

    REMOVE = "remove"
    REPLACE = "replace"
    REBOOT = "reboot"
    UPDATE = "update"
    EXTEND = "extend"
    WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Change:
    """One change of an existing node."""

    node_id: str
    action: Action
    reason: Reason
    drain: bool = True


@dataclass(frozen=True)
class Mint:
    """One node to be made."""

    zone: str | None
    spec: NodeSpec
    reason: Reason
    replaces: str | None = None


@dataclass(frozen=True)
class Decision:
    """What is to be done with a pool, what was refused and why, and when to look again."""

    mint: tuple[Mint, ...] = ()
    changes: tuple[Change, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    memory: Memory = Memory()
    tokens: int = 0
    look_again_at: datetime | None = None

    @property
    def does_nothing(self) -> bool:
        """Whether no node is made or changed."""
        return not self.mint and not self.changes
