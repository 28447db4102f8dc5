"""How far a node or a cluster's shared parts are, as users read it: steps, percent, and what is being waited for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from slipway_contracts.provisioner import NodePhase, ServerState, Step, StepState
from slipway_contracts.values import Reason
from slipway_provisioner.domain import reasons


@dataclass(frozen=True)
class PlanView:
    """How far a node's plan is."""

    revision: int = 0
    applied_revision: int = 0
    claimed: bool = False
    """The agent has made itself known."""
    failed: bool = False
    steps: tuple[Step, ...] = ()
    percent: int = 0
    waiting: Reason | None = None
    cause: Reason | None = None
    notices: tuple[Reason, ...] = ()
    """What works and is not as it should be."""
    log_tail: str | None = None
    waited_for_others: float = 0.0
    """Seconds."""

    @property
    def applied(self) -> bool:
        """The newest revision is applied to its end."""
        return 0 < self.revision == self.applied_revision


@dataclass(frozen=True)
class NodeView:
    """What a node's steps are made of."""

    phase: NodePhase
    since: datetime
    server: ServerState
    active_at: datetime | None
    joined: bool
    has_port: bool
    has_server: bool
    plan: PlanView
    refusal: Reason | None
    """What the last look at it ended with."""


_PORT, _SERVER, _BOOT = ("port", "Make its port"), ("server", "Make its server"), ("boot", "Boot and start the agent")
PERCENT_OF_PORT, PERCENT_OF_SERVER, PERCENT_OF_BOOT = 5, 15, 35


def node_steps(node: NodeView) -> tuple[Step, ...]:
    """The node's steps from its port to the end of its plan."""
    on_its_way = node.phase in (NodePhase.PENDING, NodePhase.CREATING, NodePhase.BOOTING, NodePhase.FAILED)
    has_booted = node.plan.claimed or (node.joined and not on_its_way)
    own = (
        (_PORT, node.has_port, True),
        (_SERVER, node.has_server and node.server not in (ServerState.NONE, ServerState.BUILDING), node.has_port),
        (_BOOT, has_booted, node.has_server and node.active_at is not None),
    )
    steps = []
    for (name, title), done, begun in own:
        state = StepState.DONE if done else StepState.RUNNING if begun else StepState.PENDING
        if state is StepState.RUNNING and node.phase is NodePhase.FAILED:
            state = StepState.FAILED
        since = (node.active_at or node.since) if state is not StepState.PENDING and not done else None
        steps.append(Step(name=name, title=title, state=state, since=since))
    return (*steps, *node.plan.steps)


def node_percent(node: NodeView) -> int:
    """0 to 100; 100 only when its plan is applied."""
    if node.phase is NodePhase.PROVISIONED and node.plan.applied:
        return 100
    if node.plan.claimed:
        return PERCENT_OF_BOOT + (99 - PERCENT_OF_BOOT) * min(node.plan.percent, 100) // 100
    if node.has_server and node.server is ServerState.ACTIVE:
        return PERCENT_OF_SERVER
    return PERCENT_OF_PORT if node.has_port else 0


def node_waiting(node: NodeView) -> Reason | None:
    """What the node waits for now."""
    if node.refusal is not None:
        return node.refusal
    if node.phase is NodePhase.BOOTING:
        usual = reasons.WAITING_FOR_BUILD if node.active_at is None else reasons.WAITING_FOR_BOOT
        return node.plan.waiting or usual
    if node.phase is NodePhase.CONFIGURING:
        return node.plan.waiting
    return None


INFRASTRUCTURE_STEPS: tuple[tuple[str, str], ...] = (
    ("keys", "Make the cluster's keys"),
    ("security_groups", "Make security groups"),
    ("server_groups", "Make server groups"),
    ("endpoint_port", "Make the endpoint's port"),
    ("load_balancer", "Make the load balancer"),
    ("members", "Put the controllers behind the endpoint"),
    ("control_plane", "Wait for the Kubernetes API"),
    ("bindings", "Bind Slipway's services"),
)


def infrastructure_steps(done: Sequence[str], since: datetime, waiting: Reason | None) -> tuple[Step, ...]:
    """The steps of the shared parts: those done, the one at hand, and what follows."""
    steps: list[Step] = []
    at_hand = True
    for name, title in INFRASTRUCTURE_STEPS:
        if name in done:
            steps.append(Step(name=name, title=title, state=StepState.DONE))
        elif at_hand:
            at_hand = False
            state = StepState.WAITING if waiting else StepState.RUNNING
            steps.append(
                Step(name=name, title=title, state=state, since=since, message=waiting.message if waiting else None)
            )
        else:
            steps.append(Step(name=name, title=title, state=StepState.PENDING))
    return tuple(steps)
