"""What the agent's loops ask a driver to do, and the answers they expect.

The agent does no slow input or output itself. `plan_loop` and `observe_loop` are generators: each yields one *effect*,
and the driver sends its *answer* back with `send`. A driver may be a thread (`driver.py`), an asyncio task that carries
hundreds of agents, or a simulation that steps a clock; the loops cannot tell.

    effect      answer                         what the driver does
    Call        Reply or CallFailed            one HTTPS request: to Slipway's services, or the own etcd
    Wait        None                           lets that many seconds pass on the host's clock
    Probe       ProbeAnswer                    GET a health endpoint *as seen from the host*; never raises
    Fetch       Fetched or CallFailed          downloads, checks, puts the file in its place
    Unpack      Unpacked                       takes the files out of an archive; never raises
    Execute     Executed                       runs a program on the host to its end or its timeout; never raises

Paths in effects are paths of the host. A loop never ends by itself; `close()` stops it at any point without harm.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One HTTPS request with a JSON body; the server must be verified strictly against `ca_path`.

    `cert_path` and `key_path` are the agent's own identity, None before it has one. `base` says whose endpoint
    `origin` is: "provisioner", "monitor", or "etcd" for the node's own member.
    """

    method: str
    base: str
    path: str
    origin: str
    ca_path: str
    body: dict[str, Any] | None = field(default=None, repr=False)
    cert_path: str | None = None
    key_path: str | None = None
    timeout: float = 30.0

    @property
    def url(self) -> str:
        """The complete URL."""
        return self.origin.rstrip("/") + self.path


@dataclass(frozen=True)
class Wait:
    """Nothing, for this many seconds."""

    seconds: float


@dataclass(frozen=True)
class Probe:
    """GET a health endpoint; redirects are not followed. Without `ca_path` the system's own trust applies."""

    url: str
    ca_path: str | None = None
    cert_path: str | None = None
    key_path: str | None = None
    timeout: float = 5.0


@dataclass(frozen=True)
class Fetch:
    """Download `url` beside `path`; if its SHA-256 is `sha256`, move it there atomically with `mode`, else drop it."""

    url: str
    path: str
    sha256: str
    mode: int
    timeout: float = 600.0


@dataclass(frozen=True)
class Unpack:
    """Take all files of the tar.gz at `path` into `folder`, those named in `last` after all others (`archives.py`)."""

    path: str
    folder: str
    last: tuple[str, ...] = ()


@dataclass(frozen=True)
class Execute:
    """Run a program without a shell; `env` is added to the host's plain environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float = 120.0


@dataclass(frozen=True)
class Reply:
    """The server answered; `body` is None where it sent no JSON object. Header names are lower case."""

    status: int
    body: dict[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CallFailed:
    """No answer: `message` is a sentence that names the cause, without secrets."""

    message: str


@dataclass(frozen=True)
class ProbeAnswer:
    """The status, or None where there was no answer; `saw` is one short sentence either way."""

    status: int | None
    saw: str


@dataclass(frozen=True)
class Fetched:
    """The digest of what was downloaded; the file is in its place only if it is the one that was asked for."""

    sha256: str


@dataclass(frozen=True)
class Unpacked:
    """The archive's files are in their places, or a sentence and a code say why not all of them are."""

    trouble: str | None = None
    code: str = "ArtifactUnusable"


@dataclass(frozen=True)
class Executed:
    """How the program ended; None when it was killed at its timeout. `output` is the end of stdout and stderr."""

    exit_code: int | None
    output: str = field(default="", repr=False)


Effect = Union[Call, Wait, Probe, Fetch, Unpack, Execute]
Answer = Union[Reply, CallFailed, ProbeAnswer, Fetched, Unpacked, Executed, None]
Doing = Generator[Effect, Answer, T]
"""A part of a loop that ends with a T."""


def call(effect: Call) -> Doing[Reply | CallFailed]:
    """The answer to a call."""
    answer = yield effect
    assert isinstance(answer, (Reply, CallFailed)), f"a driver answered {answer!r} to {effect!r}"
    return answer


def probe(effect: Probe) -> Doing[ProbeAnswer]:
    """The answer to a probe."""
    answer = yield effect
    assert isinstance(answer, ProbeAnswer), f"a driver answered {answer!r} to {effect!r}"
    return answer


def fetch(effect: Fetch) -> Doing[Fetched | CallFailed]:
    """The answer to a download."""
    answer = yield effect
    assert isinstance(answer, (Fetched, CallFailed)), f"a driver answered {answer!r} to {effect!r}"
    return answer


def unpack(effect: Unpack) -> Doing[Unpacked]:
    """What became of an archive's files."""
    answer = yield effect
    assert isinstance(answer, Unpacked), f"a driver answered {answer!r} to {effect!r}"
    return answer


def execute(effect: Execute) -> Doing[Executed]:
    """How a program ended."""
    answer = yield effect
    assert isinstance(answer, Executed), f"a driver answered {answer!r} to {effect!r}"
    return answer
