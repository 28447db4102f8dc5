"""What a machine's command line means for a real process that shares this computer with those of other machines.

127.0.0.1 and "every address" become the machine's own address, and paths become files in the machine's folder.
"""

import ipaddress
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from slipway_sandbox.machines.loopback import is_local

Place = Callable[[str], str]
"""The file of this computer for a path of the machine."""

_NO_FILES = frozenset({"etcd-prefix"})
"""Flags whose values begin with a slash and name no file."""


def translate_flags(flags: Mapping[str, str], address: str, place: Place) -> list[str]:
    """The flags as one process of this computer needs them; what becomes the same twice is said once."""
    translated = []
    for flag, value in flags.items():
        parts = [_translate(flag, part, address, place) for part in value.split(",")]
        translated.append(f"--{flag}={','.join(dict.fromkeys(parts))}")
    return translated


def is_loopback(address: str) -> bool:
    """Whether a machine's address is one of this computer's loopback network, as those of the sandbox's cloud are."""
    return ipaddress.ip_address(address).is_loopback


def _translate(flag: str, value: str, address: str, place: Place) -> str:
    if value.startswith("/") and flag not in _NO_FILES:
        return place(value)
    if is_local(value):
        return address
    parts = urlsplit(value)
    if parts.scheme in ("http", "https") and is_local(parts.hostname or ""):
        return parts._replace(netloc=f"{address}:{parts.port}" if parts.port else address).geturl()
    return value
