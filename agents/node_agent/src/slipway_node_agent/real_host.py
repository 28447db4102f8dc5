"""A real machine: its files, systemd, openssl, its clocks. `root` puts all files under a folder, for tests."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from slipway_node_agent import openssl
from slipway_node_agent.host import CertificateFacts
from slipway_node_agent.systemd import Systemd


class RealHost:
    """Implements the port `Host` (host.py)."""

    def __init__(self, root: str = "/", systemd: Systemd | None = None) -> None:
        self._root = Path(root)
        self._systemd = systemd or Systemd()
        self._digests: dict[str, tuple[tuple[int, int, int], str]] = {}
        self._facts: dict[str, CertificateFacts | None] = {}
        self._public_keys: dict[str, str | None] = {}

    def locate(self, path: str) -> Path:
        """Where a path of the host really lies."""
        return self._root / path.lstrip("/")

    def read_file(self, path: str) -> str | None:
        try:
            return self.locate(path).read_text("utf-8", "replace")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_file(self, path: str, content: str, mode: int) -> None:
        target = self.locate(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.slipway-new")
        draft.unlink(missing_ok=True)
        # Created without any permission for others: a secret must not be readable for the blink of an eye.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        draft.replace(target)

    def remove(self, path: str) -> None:
        self.locate(path).unlink(missing_ok=True)

    def exists(self, path: str) -> bool:
        return self.locate(path).exists()

    def mode(self, path: str) -> int | None:
        try:
            return self.locate(path).stat().st_mode & 0o7777
        except (FileNotFoundError, NotADirectoryError):
            return None

    def set_mode(self, path: str, mode: int) -> None:
        self.locate(path).chmod(mode)

    def digest(self, path: str) -> str | None:
        """Remembered while size, inode and change time stay: Kubernetes' programs are 100 MB each."""
        try:
            with self.locate(path).open("rb") as file:
                facts = os.fstat(file.fileno())
                seen = (facts.st_size, facts.st_ino, facts.st_ctime_ns)
                if self._digests.get(path, (None, ""))[0] != seen:
                    digest = hashlib.sha256()
                    for block in iter(lambda: file.read(1 << 20), b""):
                        digest.update(block)
                    self._digests[path] = (seen, digest.hexdigest())
                return self._digests[path][1]
        except (FileNotFoundError, NotADirectoryError):
            return None

    def restart_unit(self, name: str) -> None:
        self._systemd.restart(name)

    def unit_states(self, names: Sequence[str]) -> Mapping[str, str]:
        return self._systemd.states(names)

    def unit_log(self, name: str) -> str:
        return self._systemd.log(name)

    def generate_key(self) -> str:
        return openssl.generate_key()

    def make_csr(self, key_pem: str, common_name: str) -> str:
        return openssl.make_csr(key_pem, common_name)

    def public_key(self, key_pem: str) -> str | None:
        """Remembered by the key's digest, for the reason at `certificate`; the key itself is not kept."""
        name = hashlib.sha256(key_pem.encode()).hexdigest()
        if name not in self._public_keys:
            self._public_keys[name] = openssl.public_key(key_pem)
        return self._public_keys[name]

    def certificate(self, cert_pem: str) -> CertificateFacts | None:
        """Remembered by the text: the observation loop asks every few seconds, and openssl is a process."""
        if cert_pem not in self._facts:
            self._facts[cert_pem] = openssl.certificate(cert_pem)
        return self._facts[cert_pem]

    def is_own_address(self, address: str) -> bool:
        if address in ("localhost", self.hostname()):
            return True
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.bind((address, 0))  # The kernel binds only what is on an interface.
        except (ValueError, OSError):
            return False
        return True

    def boot_id(self) -> str:
        return (self.read_file("/proc/sys/kernel/random/boot_id") or "unknown").strip()

    def hostname(self) -> str:
        return socket.gethostname()

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def log(self, sentence: str, **context: object) -> None:
        words = [sentence, *(f"{name}={_value(value)}" for name, value in context.items())]
        sys.stdout.write(" ".join(words) + "\n")
        sys.stdout.flush()


def _value(value: object) -> str:
    text = str(value)
    return text if text and not any(letter in text for letter in ' "=\n') else json.dumps(text, ensure_ascii=False)
