"""Which loopback addresses a sandbox's networks have, so that no two sandboxes on one host share any."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network

RANGES = tuple(IPv4Network(f"127.{second}.0.0/16") for second in range(77, 100))
"""Those that a sandbox takes by itself, in this order."""
FIRST = RANGES[0]
LONGEST_PREFIX = 24
HELD_AT = 18780
"""A sandbox listens here on the first address of its range, which is no machine's, and so holds it."""


class RangeTaken(Exception):
    """Another sandbox on this host has the range, or has all of them; the message is for whoever chose."""


def private_and_public(addresses: IPv4Network) -> tuple[IPv4Network, IPv4Network]:
    """The halves of a range: for the network `private` and, with the floating IPs, for `public`.

    Raises ValueError for a range that is too small.
    """
    if addresses.prefixlen > LONGEST_PREFIX:
        raise ValueError(f"{addresses} is too small for two networks: /{LONGEST_PREFIX} is the smallest")
    private, public = addresses.subnets()
    return private, public


@contextmanager
def held_range(wanted: IPv4Network | None) -> Iterator[IPv4Network]:
    """Hold the wanted range, or where None is wanted the first free one of RANGES, while the context is open.

    Raises RangeTaken. Ranges are told apart by their first address. Where the host has no such address (only Linux
    has all of 127.0.0.0/8) nobody listens in the range, and nothing needs to be held.
    """
    for candidate in RANGES if wanted is None else (wanted,):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as holder:
            try:
                holder.bind((str(candidate[1]), HELD_AT))
                holder.listen()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
            yield candidate
            return
    which = f"{wanted} is another sandbox's" if wanted else "All ranges are other sandboxes'"
    raise RangeTaken(
        f"{which} on this host: port {HELD_AT} of the first address is taken. Choose one with --addresses."
    )
