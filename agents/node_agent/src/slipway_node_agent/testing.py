"""Stateful fakes of a machine and of Slipway's services, and a driver that steps the agent's loops on a fake clock.

Not part of the zipapp. Keys are texts that name themselves: `KEY 1` has the public key `PUBLIC 1`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from slipway_node_agent.config import BOOTSTRAP_PATH
from slipway_node_agent.effects import (
    Answer,
    Call,
    CallFailed,
    Doing,
    Effect,
    Execute,
    Executed,
    Fetch,
    Fetched,
    Probe,
    ProbeAnswer,
    Reply,
    Unpack,
    Unpacked,
    Wait,
)
from slipway_node_agent.host import UNIT_DIRECTORY, CertificateFacts, HostRefused

EPOCH = datetime(2030, 1, 1, tzinfo=timezone.utc)
NODE = "node-1"
TOKEN = "token-that-nobody-may-see"


@dataclass
class FakeHost:
    """A machine in memory: `programs` are called for Execute, `units` is systemd's view, `journal` the agent's log."""

    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    broken_units: set[str] = field(default_factory=set)
    programs: dict[str, Callable[[FakeHost, Execute], Executed]] = field(default_factory=dict)
    endpoints: dict[str, int] = field(default_factory=dict)  # url -> status
    addresses: set[str] = field(default_factory=lambda: {"127.0.0.1", "localhost", "10.0.0.5"})
    journal: list[str] = field(default_factory=list)
    keys: int = 0
    boots: int = 1
    seconds: float = 0.0
    skew: float = 0.0

    def read_file(self, path: str) -> str | None:
        return self.files[path][0] if path in self.files else None

    def write_file(self, path: str, content: str, mode: int) -> None:
        self.files[path] = (content, mode)

    def remove(self, path: str) -> None:
        self.files.pop(path, None)

    def exists(self, path: str) -> bool:
        return path in self.files or any(name.startswith(path.rstrip("/") + "/") for name in self.files)

    def mode(self, path: str) -> int | None:
        return self.files[path][1] if path in self.files else None

    def set_mode(self, path: str, mode: int) -> None:
        self.files[path] = (self.files[path][0], mode)

    def digest(self, path: str) -> str | None:
        return sha256(self.files[path][0]) if path in self.files else None

    def restart_unit(self, name: str) -> None:
        if UNIT_DIRECTORY + name not in self.files and name not in self.units:
            raise HostRefused("UnitNotFound", f"there is no unit {name}")
        self.restarts[name] = self.restarts.get(name, 0) + 1
        self.units[name] = "failed" if name in self.broken_units else "active"

    def unit_states(self, names: Sequence[str]) -> Mapping[str, str]:
        return {name: self.units.get(name, "absent") for name in names}

    def unit_log(self, name: str) -> str:
        return f"{name} says {self.units.get(name, 'nothing')}"

    def generate_key(self) -> str:
        self.keys += 1
        return f"KEY {self.keys}"

    def make_csr(self, key_pem: str, common_name: str) -> str:
        return f"CSR {key_pem.split()[1]} {common_name}"

    def public_key(self, key_pem: str) -> str | None:
        return f"PUBLIC {key_pem.split()[1]}" if key_pem.startswith("KEY ") else None

    def certificate(self, cert_pem: str) -> CertificateFacts | None:
        words = cert_pem.split()
        if words[:1] != ["CERT"]:
            return None
        return CertificateFacts(f"PUBLIC {words[1]}", datetime.fromisoformat(words[2]))

    def is_own_address(self, address: str) -> bool:
        return address in self.addresses

    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def hostname(self) -> str:
        return "worker-1"

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds + self.skew)

    def monotonic(self) -> float:
        return self.seconds

    def log(self, sentence: str, **context: object) -> None:
        self.journal.append(" ".join([sentence, *(f"{name}={value}" for name, value in context.items())]))

    def reboot(self) -> None:
        """Enabled units come back by themselves."""
        self.boots += 1


@dataclass
class FakeServices:
    """Provisioner, monitor and mirror as one node's agent meets them; `down` and `refuse` make calls fail."""

    host: FakeHost
    plans: list[dict[str, Any]] = field(default_factory=list)
    mirror: dict[str, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    observations: list[dict[str, Any]] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    certificate_calls: list[list[str]] = field(default_factory=list)
    down: set[str] = field(default_factory=set)  # paths that are not reachable
    refuse: dict[str, Reply] = field(default_factory=dict)
    bound_key: str | None = None
    signed_for: float = 365 * 86400.0
    fetches: list[str] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)  # of etcd, as its gateway lists them
    patience: list[int] = field(default_factory=list)  # seconds that each question for a plan was ready to wait
    calls: int = 0

    def answer(self, call: Call) -> Reply | CallFailed:
        """What the service named by the call's path says."""
        self.calls += 1
        path = call.path.partition("?")[0]
        if path in self.down:
            return CallFailed(f"cannot reach {call.origin}: connection refused")
        if path in self.refuse:
            return self.refuse[path]
        if call.cert_path is None and path not in ("/v1/agent/time", "/v1/agent/claim"):
            return Reply(401, {"title": "no client certificate"})
        return getattr(self, "_" + path.rpartition("/")[2])(call)  # type: ignore[no-any-return]

    def _time(self, call: Call) -> Reply:
        return Reply(200, {"now": (EPOCH + timedelta(seconds=self.host.seconds)).isoformat()})

    def _claim(self, call: Call) -> Reply:
        assert call.body is not None
        self.claims.append(call.body)
        key = call.body["csr_pem"].split()[1]
        if call.body["token"] != TOKEN or self.bound_key not in (None, key):
            return Reply(403, {"title": "the token belongs to another key"})
        self.bound_key = key
        body = {"certificate_pem": self._sign(key), "ca_pem": "CA services", "observe_url": "https://monitor.example"}
        return Reply(200, body)

    def _plan(self, call: Call) -> Reply:
        after, wait = (int(part.partition("=")[2]) for part in call.path.partition("?")[2].split("&"))
        self.patience.append(wait)
        if self.plans and self.plans[-1]["revision"] > after:
            return Reply(200, json.loads(json.dumps(self.plans[-1])))
        self.host.seconds += wait
        return Reply(204)

    def _certificates(self, call: Call) -> Reply:
        assert call.body is not None
        wanted = call.body["requests"]
        self.certificate_calls.append([entry["name"] for entry in wanted])
        signed = [{"name": e["name"], "certificate_pem": self._sign(e["csr_pem"].split()[1])} for e in wanted]
        return Reply(200, {"certificates": signed})

    def _report(self, call: Call) -> Reply:
        assert call.body is not None
        self.reports.append(call.body)
        return Reply(204)

    def _observations(self, call: Call) -> Reply:
        assert call.body is not None
        self.observations.append(call.body)
        return Reply(204)

    def _list(self, call: Call) -> Reply:
        return Reply(200, {"header": {"member_id": "1"}, "members": self.members})

    def _sign(self, key: str) -> str:
        return f"CERT {key} {(EPOCH + timedelta(seconds=self.host.seconds + self.signed_for)).isoformat()}"


class FakeDriver:
    """Steps one loop on the fake host's clock."""

    def __init__(self, services: FakeServices, loop: Doing[Any]) -> None:
        self.services = services
        self.host = services.host
        self.loop = loop
        self.effects: list[Effect] = []
        self._answer: Answer = None

    def step(self) -> Effect:
        """Lets the loop run to its next effect and answers that at the following step."""
        effect = self.loop.send(self._answer)
        self.effects.append(effect)
        self._answer = self._perform(effect)
        return effect

    def until(self, condition: Callable[[], bool], limit: int = 2000) -> None:
        """Steps until the condition holds; more than `limit` steps are an error."""
        for _ in range(limit):
            if condition():
                return
            self.step()
        raise AssertionError(f"not reached in {limit} steps; the last effects: {self.effects[-5:]}")

    def _perform(self, effect: Effect) -> Answer:
        if isinstance(effect, Call):
            return self.services.answer(effect)
        if isinstance(effect, Wait):
            self.host.seconds += effect.seconds
            return None
        if isinstance(effect, Probe):
            status = self.host.endpoints.get(effect.url)
            return ProbeAnswer(status, "connection refused" if status is None else str(status))
        if isinstance(effect, Fetch):
            return self._fetch(effect)
        if isinstance(effect, Unpack):
            return self._unpack(effect)
        program = self.host.programs.get(effect.argv[0])
        return Executed(127, f"{effect.argv[0]}: command not found") if program is None else program(self.host, effect)

    def _fetch(self, effect: Fetch) -> Answer:
        self.services.fetches.append(effect.url)
        if effect.url not in self.services.mirror:
            return CallFailed("404 Not Found")
        content = self.services.mirror[effect.url]
        if sha256(content) == effect.sha256:
            self.host.write_file(effect.path, content, effect.mode)
        return Fetched(sha256(content))

    def _unpack(self, effect: Unpack) -> Unpacked:
        """An archive is the text `archive of NAME NAME ...`; each file is a text that names itself."""
        text = self.host.read_file(effect.path) or ""
        if not text.startswith("archive of "):
            return Unpacked("it is no whole tar.gz: not a gzip file")
        for name in text.split()[2:]:
            self.host.write_file(f"{effect.folder}/{name}", f"program {name}", 0o755)
        return Unpacked()


def a_host(url: str = "https://provisioner.example") -> FakeHost:
    """A machine as cloud-init leaves it."""
    bootstrap = {"url": url, "ca_pem": "CA host", "token": TOKEN, "node_id": NODE, "program_sha256": "0" * 64}
    return FakeHost(files={BOOTSTRAP_PATH: (json.dumps(bootstrap), 0o600)})


def a_plan(*steps: tuple[str, Sequence[dict[str, Any]]], revision: int = 1) -> dict[str, Any]:
    """A plan of (name, actions)."""
    plan_steps = [{"name": name, "title": f"The step {name}", "actions": list(actions)} for name, actions in steps]
    return {"node_id": NODE, "revision": revision, "steps": plan_steps}


def sha256(content: str) -> str:
    """The digest as plans carry it."""
    return hashlib.sha256(content.encode()).hexdigest()
