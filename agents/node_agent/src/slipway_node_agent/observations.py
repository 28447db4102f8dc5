"""The observation loop: what the agent sees of its own node, pushed at a steady pace, whatever the plan loop is at."""

from __future__ import annotations

from typing import Any, NoReturn

from slipway_node_agent.actions import as_probe
from slipway_node_agent.config import AgentConfig, Identity, load_bootstrap, load_identity
from slipway_node_agent.effects import Doing, Wait, probe
from slipway_node_agent.etcd import observe_etcd
from slipway_node_agent.host import Host, HostRefused
from slipway_node_agent.memory import Memory, load_memory
from slipway_node_agent.retry import Backoff
from slipway_node_agent.services import Monitor, ServiceFailed

PROBE_TIMEOUT = 3.0
"""Seconds; a healthy local endpoint answers in milliseconds, and all probes share one round."""

IDENTITY_LOOK_EVERY = 2.0


def observe_loop(host: Host, config: AgentConfig) -> Doing[NoReturn]:
    """Pushes an Observation every `observe_every` seconds once the node is claimed; a lost one is not repeated."""
    node_id = load_bootstrap(host).node_id
    backoff = Backoff(config.random, config.backoff_cap)
    due, healthy = host.monotonic(), True
    while True:
        identity = load_identity(host)
        if identity is None:
            yield Wait(IDENTITY_LOOK_EVERY)
            continue
        pause = identity.observe_every
        try:
            yield from _push(host, node_id, identity)
            healthy = _note(host, healthy, "")
            backoff.reset()
        except ServiceFailed as failure:
            healthy = _note(host, healthy, failure.message)
            pause = max(pause, backoff.next(failure.retry_after))
        except (HostRefused, OSError) as error:
            healthy = _note(host, healthy, str(error))
        # A steady pace, but never a burst after a time in which nothing could be sent.
        due = max(due + pause, host.monotonic())
        yield Wait(due - host.monotonic())


def observe_node(host: Host, node_id: str, memory: Memory) -> Doing[dict[str, Any]]:
    """One observation as the protocol has it."""
    states = host.unit_states(memory.watched_units) if memory.watched_units else {}
    probes = []
    for watched in memory.watched_probes:
        answer = yield from probe(as_probe(watched, PROBE_TIMEOUT))
        healthy = answer.status in tuple(watched.get("statuses", (200,)))
        probes.append({"name": watched["name"], "healthy": healthy, "saw": answer.saw[:500]})
    return {
        "node_id": node_id,
        "boot_id": host.boot_id(),
        "at": host.now().isoformat(),
        "applied_revision": memory.applied_revision,
        "units": [{"name": name, "state": states[name]} for name in memory.watched_units],
        "probes": probes,
        "etcd": (yield from observe_etcd(memory.watched_etcd)) if memory.watched_etcd else None,
    }


def _push(host: Host, node_id: str, identity: Identity) -> Doing[None]:
    observation = yield from observe_node(host, node_id, load_memory(host))
    yield from Monitor(identity.observe_url).observations(observation)


def _note(host: Host, was_healthy: bool, fault: str) -> bool:
    """Says when observations stop or resume arriving, not each time."""
    if fault and was_healthy:
        host.log("Observations not delivered", cause=fault)
    elif not fault and not was_healthy:
        host.log("Observations delivered again")
    return not fault
