"""One node's way as a table: in which phase, on which facts, it goes where. Pure; the first rule that holds wins.

`removing` is irrevocable: no rule leads out of it but the one to `removed`. Whatever destroys a server that may still
work (removal, a new incarnation, a reboot) is started only while the decision for it is in time, unless the whole
cluster is being deleted or the cloud has positively reported the server gone.
"""

from collections.abc import Callable
from dataclasses import dataclass

from slipway_contracts.provisioner import NodePhase, ServerState


@dataclass(frozen=True)
class NodeFacts:
    """All that decides where a node goes next."""

    cluster_deleted: bool = False
    """The deletion of the whole cluster was requested."""
    removal_wanted: bool = False
    in_time: bool = True
    """The row's decision is still valid."""
    drain_wanted: bool = False
    """A removal started now would drain first: wanted, and there is something to drain and an API to ask."""
    drained: bool = False
    """Nothing is left to evict, or the limit of the drain is reached."""
    incarnation_wanted: bool = False
    """The row's incarnation is greater than the server's."""
    reboot_wanted: bool = False
    reboot_done: bool = False
    update_wanted: bool = False
    """The plan has a revision that was not applied yet."""
    port_made: bool = False
    server_made: bool = False
    server: ServerState = ServerState.NONE
    agent_claimed: bool = False
    plan_applied: bool = False
    plan_failed: bool = False
    joined: bool = False
    given_up: bool = False
    """The cloud refused the server or its port for good."""
    things_left: bool = True
    """Something of what has to go is still there, or not verified gone."""


Condition = Callable[[NodeFacts], bool]


@dataclass(frozen=True)
class Transition:
    """From any of these phases, when the facts say so, to this one; `why` is what the log says."""

    sources: frozenset[NodePhase]
    when: Condition
    target: NodePhase
    why: str


_P = NodePhase
_COMING = frozenset({_P.PENDING, _P.CREATING, _P.BOOTING, _P.CONFIGURING})
_UP = frozenset({_P.PROVISIONED, _P.REBOOTING, _P.FAILED})
_LIVE = _COMING | _UP | {_P.REPLACING, _P.DRAINING}


def _no_server_lives(facts: NodeFacts) -> bool:
    return facts.server in (ServerState.NONE, ServerState.GONE)


def _may_destroy(facts: NodeFacts) -> bool:
    return facts.in_time or _no_server_lives(facts)


def _server_lost(facts: NodeFacts) -> bool:
    return not facts.joined and facts.server in (ServerState.ERROR, ServerState.GONE)


TRANSITIONS: tuple[Transition, ...] = (
    Transition(_LIVE, lambda f: f.cluster_deleted, _P.REMOVING, "the cluster is deleted"),
    Transition(
        _LIVE - {_P.DRAINING},
        lambda f: f.removal_wanted and f.drain_wanted and f.in_time,
        _P.DRAINING,
        "its removal is wanted, and its pods may leave first",
    ),
    Transition(
        _LIVE - {_P.DRAINING},
        lambda f: f.removal_wanted and _may_destroy(f) and not (f.drain_wanted and f.in_time),
        _P.REMOVING,
        "its removal is wanted",
    ),
    Transition(
        frozenset({_P.DRAINING}), lambda f: not f.removal_wanted, _P.PROVISIONED, "its removal was withdrawn in time"
    ),
    Transition(frozenset({_P.DRAINING}), lambda f: f.drained or _no_server_lives(f), _P.REMOVING, "it is drained"),
    Transition(frozenset({_P.REMOVING}), lambda f: not f.things_left, _P.REMOVED, "all of it is verified gone"),
    Transition(frozenset({_P.REPLACING}), lambda f: not f.things_left, _P.PENDING, "its old server is verified gone"),
    Transition(
        (_COMING | _UP),
        lambda f: f.incarnation_wanted and not f.removal_wanted and _may_destroy(f),
        _P.REPLACING,
        "a new server is wanted",
    ),
    Transition(frozenset({_P.PENDING, _P.CREATING}), lambda f: f.given_up, _P.FAILED, "the cloud refused it for good"),
    Transition(frozenset({_P.PENDING}), lambda f: f.port_made, _P.CREATING, "it has a port"),
    Transition(frozenset({_P.CREATING}), lambda f: f.server_made, _P.BOOTING, "it has a server"),
    Transition(frozenset({_P.BOOTING, _P.CONFIGURING}), _server_lost, _P.FAILED, "its server failed before it joined"),
    Transition(frozenset({_P.BOOTING}), lambda f: f.agent_claimed, _P.CONFIGURING, "its agent has claimed it"),
    Transition(
        frozenset({_P.CONFIGURING, _P.FAILED}),
        lambda f: f.plan_applied and f.server_made and not _server_lost(f),
        _P.PROVISIONED,
        "its plan is applied",
    ),
    Transition(frozenset({_P.CONFIGURING}), lambda f: f.plan_failed, _P.FAILED, "its plan failed"),
    Transition(
        frozenset({_P.PROVISIONED}),
        lambda f: f.reboot_wanted and not f.removal_wanted and f.in_time and not _no_server_lives(f),
        _P.REBOOTING,
        "a reboot is wanted",
    ),
    Transition(frozenset({_P.REBOOTING}), lambda f: f.reboot_done, _P.PROVISIONED, "it has rebooted"),
    Transition(frozenset({_P.PROVISIONED}), lambda f: f.update_wanted, _P.CONFIGURING, "its plan has a newer revision"),
)


def next_phase(phase: NodePhase, facts: NodeFacts) -> Transition | None:
    """The transition that these facts allow, or None: the node stays where it is."""
    return next((each for each in TRANSITIONS if phase in each.sources and each.when(facts)), None)


def is_stale(phase: NodePhase, facts: NodeFacts) -> bool:
    """Whether something destructive is wanted, was not started, and its decision has run out."""
    if facts.in_time or facts.cluster_deleted:
        return False
    if facts.removal_wanted:
        started = phase in (_P.DRAINING, _P.REMOVING, _P.REMOVED)
        return not started and not _may_destroy(facts)
    if facts.incarnation_wanted:
        return phase in (_COMING | _UP) and not _may_destroy(facts)
    return facts.reboot_wanted and phase is _P.PROVISIONED and not _no_server_lives(facts)
