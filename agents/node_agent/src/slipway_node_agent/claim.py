"""How the agent comes by its identity: one key, made once; one claim, repeated until it is accepted."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from slipway_node_agent import __version__
from slipway_node_agent.config import (
    CERT_PATH,
    IDENTITY_PATH,
    KEY_PATH,
    AgentConfig,
    Bootstrap,
    load_identity,
    store_trust,
)
from slipway_node_agent.effects import Doing, Wait
from slipway_node_agent.host import Host
from slipway_node_agent.retry import Backoff
from slipway_node_agent.services import Provisioner, ServiceFailed

SKEW_LIMIT = 60.0
"""Seconds that the clock may differ from the server's before the agent says so; certificates are backdated an hour."""


def ensure_claimed(host: Host, config: AgentConfig, bootstrap: Bootstrap) -> Doing[None]:
    """Returns when the agent has a valid identity on disk; tries for as long as that takes."""
    if load_identity(host) is not None:
        return
    store_trust(host, bootstrap.ca_pem)
    key = _ensure_key(host)
    provisioner = Provisioner(bootstrap.url, bootstrap.node_id)
    backoff = Backoff(config.random, config.backoff_cap)
    while True:
        try:
            yield from _check_clock(host, provisioner)
            host.log("Claiming this node", node=bootstrap.node_id, url=bootstrap.url)
            claimed = yield from provisioner.claim(_claim(host, bootstrap, key))
            _store_identity(host, bootstrap, key, claimed)
        except ServiceFailed as failure:
            pause = backoff.next(failure.retry_after)
            if failure.status in (401, 403):
                pause = max(pause, config.refused_every * config.random.uniform(0.8, 1.2))
            host.log("Claim failed", url=bootstrap.url, cause=failure.message, again_in=round(pause, 1))
            yield Wait(pause)
        else:
            host.log("Claim accepted", node=bootstrap.node_id)
            return


def claim_again(host: Host, bootstrap: Bootstrap) -> Doing[None]:
    """One claim with the key that the agent has: the provisioner may have forgotten it, with all of its last hours."""
    try:
        host.log("Claiming this node again", node=bootstrap.node_id, url=bootstrap.url)
        key = _ensure_key(host)
        claimed = yield from Provisioner(bootstrap.url, bootstrap.node_id).claim(_claim(host, bootstrap, key))
        _store_identity(host, bootstrap, key, claimed)
    except ServiceFailed as failure:
        host.log("Claim failed", url=bootstrap.url, cause=failure.message)


def decide_skew(local: datetime, server: str, travel: float) -> float | None:
    """Seconds that the local clock is ahead of the server's, whose answer took `travel` seconds; None if unreadable."""
    try:
        theirs = datetime.fromisoformat(server.replace("Z", "+00:00"))
        return (local - theirs).total_seconds() - travel / 2
    except (ValueError, TypeError):
        return None


def _check_clock(host: Host, provisioner: Provisioner) -> Doing[None]:
    """Says what is wrong with the clock. The claim carries it too, and the provisioner judges."""
    asked = host.monotonic()
    server = yield from provisioner.time()
    skew = decide_skew(host.now(), server or "", host.monotonic() - asked)
    if skew is not None and abs(skew) > SKEW_LIMIT:
        host.log("Clock differs from the server's: set this machine's time", code="ClockSkew", seconds=round(skew))


def _ensure_key(host: Host) -> str:
    key = host.read_file(KEY_PATH)
    if key is None or host.public_key(key) is None:
        key = host.generate_key()
        host.write_file(KEY_PATH, key, 0o600)
    return key


def _claim(host: Host, bootstrap: Bootstrap, key: str) -> dict[str, Any]:
    return {
        "token": bootstrap.token,
        "node_id": bootstrap.node_id,
        "csr_pem": host.make_csr(key, bootstrap.node_id),
        "clock": host.now().isoformat(),
        "hostname": host.hostname(),
        "agent_version": __version__,
        "boot_id": host.boot_id(),
    }


def _store_identity(host: Host, bootstrap: Bootstrap, key: str, claimed: dict[str, Any]) -> None:
    """The certificate goes last: an identity is complete or it is not there."""
    try:
        certificate, authority = str(claimed["certificate_pem"]), str(claimed["ca_pem"])
        identity = {
            "observe_url": str(claimed["observe_url"]),
            "observe_every": float(claimed.get("observe_every", 10)),
        }
    except (KeyError, TypeError, ValueError):
        raise ServiceFailed("the answer to the claim is incomplete") from None
    facts = host.certificate(certificate)
    if facts is None or facts.public_key != host.public_key(key):
        raise ServiceFailed("the claim's certificate is not for this agent's key")
    if facts.not_after <= host.now():
        raise ServiceFailed("the claim's certificate has expired by this machine's clock: set its time")
    store_trust(host, bootstrap.ca_pem, authority)
    host.write_file(IDENTITY_PATH, json.dumps(identity), 0o600)
    host.write_file(CERT_PATH, certificate, 0o644)
