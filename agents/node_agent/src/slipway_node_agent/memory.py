"""What the agent remembers across restarts: what it applied, started and ran, and what it is to watch.

Digests only, never contents. Losing it is harmless: units are restarted and commands repeated once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from slipway_node_agent.config import MEMORY_PATH
from slipway_node_agent.host import Host


@dataclass
class Memory:
    """The content of `state.json`."""

    applied_revision: int = 0
    units: dict[str, str] = field(default_factory=dict)  # unit -> digest of all it was started with
    commands: dict[str, str] = field(default_factory=dict)  # command -> digest of what it was run on
    certificates: dict[str, int] = field(default_factory=dict)  # entry -> generation that was signed
    watched_units: list[str] = field(default_factory=list)
    watched_probes: list[dict[str, Any]] = field(default_factory=list)
    watched_etcd: dict[str, Any] | None = None
    etcd_learners: dict[str, str] = field(default_factory=dict)  # name -> id of the one that was added last


def load_memory(host: Host) -> Memory:
    """What was saved last, or an empty memory when that is missing or unreadable."""
    try:
        body = json.loads(host.read_file(MEMORY_PATH) or "{}")
        return Memory(**{name: body[name] for name in Memory.__dataclass_fields__ if name in body})
    except (ValueError, TypeError):
        return Memory()


def save_memory(host: Host, memory: Memory) -> None:
    """Writes it when it differs from what is there."""
    text = json.dumps(asdict(memory), sort_keys=True)
    if host.read_file(MEMORY_PATH) != text:
        host.write_file(MEMORY_PATH, text, 0o600)


def digest_of(parts: Sequence[str | None]) -> str:
    """One digest of several texts, absent ones included, that no other sequence of texts shares."""
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()
