"""The agent's `Host` port on an emulated machine: memory for a disk, and units that run emulated programs."""

import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from slipway_node_agent.host import CertificateFacts, HostRefused
from slipway_sandbox.machines import certificates
from slipway_sandbox.machines.authority import private_key_pem
from slipway_sandbox.machines.containers import Containers
from slipway_sandbox.machines.files import Disk
from slipway_sandbox.machines.image import Image, search_path
from slipway_sandbox.machines.loopback import Loopback

_LINES_KEPT = 500


class Units(Protocol):
    """systemd, as the host needs it."""

    def restart(self, name: str) -> None:
        """Enables and restarts; raises HostRefused when there is no such unit."""

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """active, activating, inactive, failed or absent, for every name."""

    def log(self, name: str) -> str:
        """The last lines that the unit printed."""


@dataclass
class Faults:
    """What is wrong with a machine, by order of a test."""

    partitioned: bool = False  # the agent reaches none of Slipway's services
    slow_by: float = 0.0  # seconds that each effect of the agent takes longer


class EmulatedHost:
    """One machine. Everything but the disk and the machine's id is new after a boot."""

    def __init__(
        self,
        name: str,
        address: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        disk: Disk | None = None,
        image: Image | None = None,
    ) -> None:
        self.name = name
        self.address = address
        self.disk = disk or Disk()
        self.image = image or Image()
        self.power_is_cut = False  # what ends now, ends without a farewell
        self.loopback = Loopback()
        self.containers: Containers[Any] = Containers()
        self.machine_id = uuid.uuid4().hex
        self.console: deque[str] = deque(maxlen=_LINES_KEPT)
        self.skew = timedelta(0)
        self.faults = Faults()
        self._now = now
        self._monotonic = monotonic
        self._boot_id = str(uuid.uuid4())
        self._units: Units | None = None

    def attach(self, units: Units) -> None:
        """Gives the host its units; once, before anything runs on it."""
        self._units = units

    def booted(self) -> None:
        """A new boot: what was only in memory is gone."""
        self._boot_id = str(uuid.uuid4())
        self.loopback = Loopback()
        self.power_is_cut = False

    def read_file(self, path: str) -> str | None:
        return self.disk.text(path)

    def write_file(self, path: str, content: str, mode: int) -> None:
        self.disk.write(path, content, mode)

    def remove(self, path: str) -> None:
        self.disk.remove(path)

    def exists(self, path: str) -> bool:
        return self.disk.exists(path) or self.image.has(path)

    def find_program(self, name: str) -> str | None:
        """Where a program is, of a path or a bare name; None when it is not there."""
        places = [name] if name.startswith("/") else search_path(name)
        return next((place for place in places if self.exists(place)), None)

    def mode(self, path: str) -> int | None:
        found = self.disk.find(path)
        return found.mode if found else None

    def set_mode(self, path: str, mode: int) -> None:
        self.disk.set_mode(path, mode)

    def digest(self, path: str) -> str | None:
        found = self.disk.find(path)
        return found.digest if found else None

    def restart_unit(self, name: str) -> None:
        self._systemd().restart(name)

    def unit_states(self, names: Sequence[str]) -> Mapping[str, str]:
        return self._systemd().states(names)

    def unit_log(self, name: str) -> str:
        return self._systemd().log(name)

    def generate_key(self) -> str:
        return private_key_pem(ec.generate_private_key(ec.SECP256R1()))

    def make_csr(self, key_pem: str, common_name: str) -> str:
        try:
            return certificates.make_csr(key_pem, common_name)
        except (ValueError, TypeError) as error:
            raise HostRefused("KeyUnusable", f"openssl cannot use the key: {error}") from error

    def public_key(self, key_pem: str) -> str | None:
        return certificates.public_key_of(key_pem)

    def certificate(self, cert_pem: str) -> CertificateFacts | None:
        found = certificates.load(cert_pem)
        if found is None:
            return None
        return CertificateFacts(certificates.public_key_of_certificate(found), found.not_valid_after_utc)

    def is_own_address(self, address: str) -> bool:
        return address in ("localhost", "127.0.0.1", "::1", self.address)

    def boot_id(self) -> str:
        return self._boot_id

    def hostname(self) -> str:
        return self.name

    def now(self) -> datetime:
        return self._now() + self.skew

    def monotonic(self) -> float:
        return self._monotonic()

    def log(self, sentence: str, **context: object) -> None:
        self.print(" ".join([sentence, *(f"{key}={value}" for key, value in context.items())]))

    def print(self, line: str) -> None:
        """A line on the machine's console."""
        self.console.append(f"{self.now():%Y-%m-%dT%H:%M:%SZ} {line}")

    def _systemd(self) -> Units:
        assert self._units is not None, "attach() comes first"
        return self._units
