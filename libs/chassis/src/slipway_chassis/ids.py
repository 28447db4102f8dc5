"""Identifiers: time-ordered UUIDs (RFC 9562, version 7) made on the service's clock, and the names of processes."""

import os
import random
import secrets
import socket
from datetime import datetime
from uuid import UUID

_RANDOM_BITS = 74


def new_id(now: datetime, source: random.Random | None = None) -> str:
    """A fresh UUIDv7 for this moment; `source` makes it reproducible in a simulation."""
    milliseconds = int(now.timestamp() * 1000)
    tail = source.getrandbits(_RANDOM_BITS) if source is not None else secrets.randbits(_RANDOM_BITS)
    high, low = tail >> 62, tail & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
    return str(UUID(int=value))


def first_id(moment: datetime) -> str:
    """Not greater than any id made at this moment or later, and greater than all made a millisecond earlier."""
    return str(UUID(int=int(moment.timestamp() * 1000) << 80))


def replica_name() -> str:
    """What this process is called in its leases, log and traces: its host and its process id."""
    return f"{socket.gethostname()}-{os.getpid()}"
