"""What each witness says of one node. Unknown is not unhealthy: who did not look, or cannot tell, says so.

A witness counts only for the server that the node has now: what was renewed or received before that server was ACTIVE
belongs to an earlier incarnation, and an earlier server is confirmed gone before the next one is made.
"""

from datetime import datetime

from slipway_contracts.agent import Observation, UnitState
from slipway_contracts.monitor import Verdict, Witness, WitnessName
from slipway_contracts.values import Role
from slipway_monitor.domain.etcd import peers_of
from slipway_monitor.domain.model import AgentView, Limits, NodeView, ServerView, Sight, Watched

Saying = tuple[Verdict, str]

STOPPED = frozenset({"SHUTOFF", "ERROR"})


def witnesses_of(node: Watched, sight: Sight, limits: Limits) -> tuple[Witness, ...]:
    """All witnesses that have anything to say about the node, in a fixed order."""
    found = (
        _kubernetes(node, sight, limits),
        _server(node, sight, limits),
        _agent(node, sight, limits),
        _etcd_peers(node, sight, limits),
    )
    return tuple(witness for witness in found if witness is not None)


def _kubernetes(node: Watched, sight: Sight, limits: Limits) -> Witness | None:
    look = sight.kubernetes
    if node.role is Role.ETCD or look is None:
        return None
    if sight.now - look.at > limits.look_stale:
        return _say(node, WitnessName.KUBERNETES, (Verdict.UNKNOWN, "The cluster's API does not answer"), look.at)
    return _say(node, WitnessName.KUBERNETES, _lease_and_condition(node, sight, limits), look.at)


def _lease_and_condition(node: Watched, sight: Sight, limits: Limits) -> Saying:
    look = sight.kubernetes
    assert look is not None
    name, active_at = node.state.row.name, node.state.active_at
    beat, view = look.beats.get(name), look.nodes.get(name)
    if active_at is None:
        return Verdict.UNKNOWN, "The node's server has not started yet"
    if _of_another_server(view, node.state.server_id):
        return Verdict.UNKNOWN, "The Node object still belongs to an earlier server"
    if beat is None or beat.heard_at < active_at:
        if not look.beats:
            return Verdict.UNKNOWN, "The API lists no lease at all"
        return _absence(node, sight.now, limits, "It has not renewed a lease")
    heard_for = look.at - beat.heard_at
    if heard_for > limits.lease_dead:
        return _absence(node, sight.now, limits, f"Its lease was last renewed at {_moment(beat.heard_at)}")
    if view is None:
        return _absence(node, sight.now, limits, "It renews its lease but has no Node object")
    if view.ready is not True:
        return _absence(node, sight.now, limits, f"Not Ready: {view.detail}")
    if heard_for > limits.lease_suspect:
        return Verdict.UNKNOWN, f"Two renewals of its lease are missing since {_moment(beat.heard_at)}"
    return Verdict.HEALTHY, "Ready, and it renews its lease"


def _absence(node: Watched, now: datetime, limits: Limits, saw: str) -> Saying:
    """What is missing is trouble for a server that was healthy before, or that had time enough to become so."""
    if node.was_ready:
        return Verdict.UNHEALTHY, saw
    joined_at = node.joined_at
    if joined_at is not None and now - joined_at > limits.join_grace:
        return Verdict.UNHEALTHY, f"{saw}; it was never healthy"
    return Verdict.UNKNOWN, f"{saw}; it is still joining"


def _of_another_server(view: NodeView | None, server_id: str | None) -> bool:
    if view is None or server_id is None or not (view.provider_id or "").startswith("openstack://"):
        return False
    return (view.provider_id or "").rpartition("/")[2] != server_id


def _server(node: Watched, sight: Sight, limits: Limits) -> Witness | None:
    server_id = node.state.server_id
    if server_id is None or sight.cloud.at is None:
        return None
    server = sight.cloud.servers.get(server_id)
    if sight.now - sight.cloud.at > limits.look_stale:
        saying: Saying = (Verdict.UNKNOWN, "The cloud's API does not answer")
    elif server is None:
        saying = (Verdict.UNKNOWN, "The cloud has not listed it yet")
    else:
        saying = _status(server, joined=node.was_ready or node.joined_at is not None)
    return _say(node, WitnessName.SERVER, saying, sight.cloud.at)


def _status(server: ServerView, *, joined: bool) -> Saying:
    if server.gone:
        return (Verdict.UNHEALTHY if joined else Verdict.UNKNOWN), "The cloud says that it does not exist any more"
    if server.task_state is not None:
        return Verdict.UNKNOWN, f"The cloud is working on it: {server.task_state}"
    if server.status == "ACTIVE":
        return Verdict.HEALTHY, "ACTIVE"
    if server.status not in STOPPED:
        return Verdict.UNKNOWN, f"The cloud is working on it: {server.status}"
    if not joined:
        return Verdict.UNKNOWN, f"{server.status}; it never joined"
    if server.status == "ERROR":
        fault = f" ({server.fault})" if server.fault else ""
        return Verdict.UNHEALTHY, f"ERROR{fault}; the machine may still be running"
    return Verdict.UNHEALTHY, server.status


def _agent(node: Watched, sight: Sight, limits: Limits) -> Witness | None:
    active_at = node.state.active_at
    if active_at is None:
        return None
    view = sight.agents.get(node.state.node_id)
    if view is not None and view.received_at < active_at:
        view = None
    joined_at = node.joined_at
    if view is None and joined_at is None and not node.was_ready:
        return None
    reported = joined_at is not None and (view is None or view.received_at < joined_at)
    if joined_at is not None and reported and sight.now - joined_at <= limits.agent_silent:
        return _say(node, WitnessName.AGENT, (Verdict.HEALTHY, "It reported its plan applied"), joined_at)
    heard_at = max(view.received_at if view else active_at, sight.listening_since)
    if sight.now - heard_at > limits.agent_silent:
        return _say(node, WitnessName.AGENT, _silence(node, view, sight, limits), sight.now)
    if view is None:
        return _say(node, WitnessName.AGENT, (Verdict.UNKNOWN, "It has not been heard yet"), sight.now)
    return _say(node, WitnessName.AGENT, _observed(node, view.observation, sight.now, limits), view.received_at)


def _silence(node: Watched, view: AgentView | None, sight: Sight, limits: Limits) -> Saying:
    since = f"since {_moment(view.received_at)}" if view else "at all"
    others = sight.others_heard_at.get(node.state.node_id)
    if others is None or sight.now - others > limits.agent_silent:
        return Verdict.UNKNOWN, f"Nothing was heard of it {since}, nor of any other agent of the region"
    return Verdict.UNHEALTHY, f"Nothing was heard of it {since}, while other agents are"


def _observed(node: Watched, observation: Observation, now: datetime, limits: Limits) -> Saying:
    if observation.applied_revision == 0:
        return Verdict.UNKNOWN, "It has not applied its plan yet"
    for unit in observation.units:
        if unit.state is UnitState.ACTIVATING:
            return Verdict.UNKNOWN, f"{unit.name} is starting"
        if unit.state is not UnitState.ACTIVE:
            return _absence(node, now, limits, f"{unit.name} is {unit.state.value}")
    for probe in observation.probes:
        if not probe.healthy:
            return _absence(node, now, limits, f"{probe.name}: {probe.saw}"[:300])
    if not observation.probes and not observation.units:
        return Verdict.UNKNOWN, "It observes nothing"
    return Verdict.HEALTHY, "All units run and all probes pass"


def _etcd_peers(node: Watched, sight: Sight, limits: Limits) -> Witness | None:
    peers = peers_of(node, sight.etcd) if node.role is Role.ETCD else None
    if peers is None:
        return None
    if peers.missing >= peers.majority:
        saw = f"{peers.missing} of the {peers.others} other members do not reach it: {peers.saw}"[:300]
        saying = _absence(node, sight.now, limits, saw)
    elif peers.reaching >= peers.majority:
        saying = Verdict.HEALTHY, "Most of the other members reach it"
    else:
        heard = peers.reaching + peers.missing
        saying = Verdict.UNKNOWN, f"The agents of {heard} of the {peers.others} other members say something of it"
    return _say(node, WitnessName.ETCD_PEERS, saying, peers.at or sight.now)


def _say(node: Watched, name: WitnessName, saying: Saying, at: datetime) -> Witness:
    verdict, saw = saying
    said = node.previous
    before = next((witness for witness in said.witnesses if witness.name is name), None) if said else None
    since = before.since if before is not None and before.verdict is verdict else at
    return Witness(name=name, verdict=verdict, saw=saw, since=since, at=at)


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
