"""The port through which the agent touches its machine. All calls are quick; slow ones are effects (`effects.py`).

Error contract: a method that cannot do what it promises raises OSError (files) or HostRefused (units, keys); both
fail the step with a cause and are tried again. Reading what is not there is no error: it answers None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

UNIT_DIRECTORY = "/etc/systemd/system/"
"""Where the agent writes unit files: the administrator's directory, which wins over the image's own."""


class HostRefused(Exception):
    """The machine cannot do it: a code for machines and a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class CertificateFacts:
    """What the agent must know of a certificate. `public_key` compares equal to `Host.public_key` of its key."""

    public_key: str
    not_after: datetime


class Host(Protocol):
    """One machine: files, units, keys, names and clocks. Paths are absolute."""

    def read_file(self, path: str) -> str | None:
        """The text, or None when there is no such file."""

    def write_file(self, path: str, content: str, mode: int) -> None:
        """Replaces the file atomically, never readable by more than `mode` says; makes its directories."""

    def remove(self, path: str) -> None:
        """Afterwards there is no such file; one that was not there is no error."""

    def exists(self, path: str) -> bool:
        """Whether there is a file or a directory."""

    def mode(self, path: str) -> int | None:
        """The permission bits, None when there is no such file."""

    def set_mode(self, path: str, mode: int) -> None:
        """Changes the permission bits of a file that exists."""

    def digest(self, path: str) -> str | None:
        """SHA-256 in lower-case hexadecimal, None when there is no such file."""

    def restart_unit(self, name: str) -> None:
        """Reads all unit files again, enables the unit for the next boot and restarts it; does not wait for it."""

    def unit_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """For every name: active, activating, inactive, failed or absent."""

    def unit_log(self, name: str) -> str:
        """The last lines that the unit printed, for evidence; empty when there are none."""

    def generate_key(self) -> str:
        """A new EC P-256 private key, PEM."""

    def make_csr(self, key_pem: str, common_name: str) -> str:
        """A certificate signing request by this key, PEM."""

    def public_key(self, key_pem: str) -> str | None:
        """The public key of a private one, comparable; None when the text is no key."""

    def certificate(self, cert_pem: str) -> CertificateFacts | None:
        """The facts of the first certificate in the text, None when there is none."""

    def is_own_address(self, address: str) -> bool:
        """Whether a name or an IP address is this machine's: loopback or one of its interfaces."""

    def boot_id(self) -> str:
        """Changes with every boot."""

    def hostname(self) -> str:
        """What the machine calls itself."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC. It may be wrong and it may jump."""

    def monotonic(self) -> float:
        """Seconds that only ever grow, for measuring how long something takes."""

    def log(self, sentence: str, **context: object) -> None:
        """One line: a constant sentence and key=value context. Never a secret."""
