"""What the agent knows of itself: where things lie, who it is, how often it speaks."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

from slipway_node_agent.host import Host, HostRefused

BOOTSTRAP_PATH = "/etc/slipway/agent.json"
STATE_DIRECTORY = "/var/lib/slipway"
KEY_PATH = STATE_DIRECTORY + "/agent.key"
CERT_PATH = STATE_DIRECTORY + "/agent.crt"
TRUST_PATH = STATE_DIRECTORY + "/trust.crt"
IDENTITY_PATH = STATE_DIRECTORY + "/identity.json"
MEMORY_PATH = STATE_DIRECTORY + "/state.json"
PACKAGES_FOLDER = STATE_DIRECTORY + "/packages"
"""Archives, until they are unpacked."""


@dataclass(frozen=True)
class AgentConfig:
    """How often the agent speaks, in seconds. A simulation passes its own `random`."""

    poll_wait: int = 30  # shorter than the idle limit of common load balancers (60 s)
    finished_every: float = 60.0  # a node that is done, but for members of etcd, which wait in a long poll
    report_every: float = 60.0
    backoff_cap: float = 60.0
    refused_every: float = 60.0  # a refused claim needs a person or a new server; asking faster helps nobody
    probe_pause_cap: float = 5.0
    random: random.Random = field(default_factory=random.Random)


@dataclass(frozen=True)
class Bootstrap:
    """The content of `/etc/slipway/agent.json`."""

    url: str
    ca_pem: str = field(repr=False)
    token: str = field(repr=False)
    node_id: str


@dataclass(frozen=True)
class Identity:
    """Where to push observations and how often, as the accepted claim said."""

    observe_url: str
    observe_every: float


def load_bootstrap(host: Host) -> Bootstrap:
    """Reads the bootstrap file; raises HostRefused when it is missing or incomplete: nothing can be done then."""
    text = host.read_file(BOOTSTRAP_PATH)
    if text is None:
        raise HostRefused("BootstrapMissing", f"{BOOTSTRAP_PATH} is missing: start the agent by Slipway's cloud-config")
    try:
        body: dict[str, Any] = json.loads(text)
        return Bootstrap(body["url"], body["ca_pem"], body["token"], body["node_id"])
    except (ValueError, KeyError, TypeError) as error:
        # The parser's own words may quote the file, which holds the token.
        raise HostRefused(
            "BootstrapInvalid", f"{BOOTSTRAP_PATH} is not what Slipway wrote: {type(error).__name__}"
        ) from None


def load_identity(host: Host) -> Identity | None:
    """The stored identity, None when there is none that can be used: the agent then claims again with the same key."""
    key, cert, text = host.read_file(KEY_PATH), host.read_file(CERT_PATH), host.read_file(IDENTITY_PATH)
    if key is None or cert is None or text is None:
        return None
    facts = host.certificate(cert)
    if facts is None or facts.public_key != host.public_key(key) or facts.not_after <= host.now():
        return None
    try:
        body = json.loads(text)
        return Identity(str(body["observe_url"]), float(body["observe_every"]))
    except (ValueError, KeyError, TypeError):
        return None


def store_trust(host: Host, *authorities: str) -> None:
    """Writes the CAs that verify Slipway's servers, each once, if they differ from what is there."""
    text = "\n".join(dict.fromkeys(pem.strip() for pem in authorities if pem.strip())) + "\n"
    if host.read_file(TRUST_PATH) != text:
        host.write_file(TRUST_PATH, text, 0o644)
