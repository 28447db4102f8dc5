"""A host's own loopback: health endpoints that only programs on that host can reach."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from slipway_node_agent.effects import Call, CallFailed, Probe, ProbeAnswer, Reply
from slipway_sandbox.machines.certificates import decide_refusal
from slipway_sandbox.machines.files import Disk

Answer = tuple[int, str]
Ask = Callable[[str, dict[str, Any]], tuple[int, dict[str, Any]]]

_LOCAL = ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::")  # noqa: S104 recognised, never bound

REASONS = {200: "OK", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Internal Server Error"}


def is_local(host: str) -> bool:
    """Whether a name or an address means the machine itself, on whichever machine it is said."""
    return host in _LOCAL


@dataclass(frozen=True)
class Endpoint:
    """One listener of one program: `answer` maps a path to a status and a text, `ask` a path and a JSON body to JSON.

    With a certificate it speaks TLS; with a client CA it refuses whoever has no certificate of that CA, unless
    `anonymous`.
    """

    answer: Callable[[str], Answer]
    certificate_pem: str | None = None
    client_ca_pem: str | None = None
    anonymous: bool = False
    ask: Ask | None = None


class Loopback:
    """The endpoints of one host by port."""

    def __init__(self) -> None:
        self._endpoints: dict[int, Endpoint] = {}

    def open(self, port: int, endpoint: Endpoint) -> None:
        """Listens. Raises OSError when another program has the port."""
        if port in self._endpoints:
            raise OSError(98, f"listen tcp 127.0.0.1:{port}: bind: address already in use")
        self._endpoints[port] = endpoint

    def serves(self, url: str) -> bool:
        """Whether an emulated program listens at the URL's port."""
        return _port(url) in self._endpoints

    def close(self, port: int) -> None:
        """Stops listening; nothing happens when nobody did."""
        self._endpoints.pop(port, None)

    def probe(self, effect: Probe, disk: Disk, now: datetime) -> ProbeAnswer:
        """What a probe of 127.0.0.1 sees: TLS is judged by the same rules as a real handshake."""
        endpoint = self._connect(effect, disk, now)
        if isinstance(endpoint, str):
            return ProbeAnswer(None, endpoint)
        status, _ = endpoint.answer(urlsplit(effect.url).path or "/")
        return ProbeAnswer(status, f"{status} {REASONS.get(status, '')}".strip())

    def call(self, effect: Call, disk: Disk, now: datetime) -> Reply | CallFailed:
        """What a JSON request to 127.0.0.1 is answered."""
        endpoint = self._connect(effect, disk, now)
        if isinstance(endpoint, str):
            return CallFailed(f"cannot reach {effect.origin}: {endpoint}")
        if endpoint.ask is None:
            return Reply(404)
        return Reply(*endpoint.ask(effect.path, effect.body or {}))

    def _connect(self, effect: Probe | Call, disk: Disk, now: datetime) -> Endpoint | str:
        """Who listens at the URL's port, or why no connection comes about."""
        parts = urlsplit(effect.url)
        secure = parts.scheme == "https"
        endpoint = self._endpoints.get(_port(effect.url))
        if endpoint is None:
            return "connection refused"
        if secure != (endpoint.certificate_pem is not None):
            return "one side speaks TLS and the other does not"
        refusal = _handshake(endpoint, effect, parts.hostname or "", disk, now) if secure else None
        return endpoint if refusal is None else refusal


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _handshake(endpoint: Endpoint, effect: Probe | Call, host: str, disk: Disk, now: datetime) -> str | None:
    assert endpoint.certificate_pem is not None
    if effect.ca_path is not None:
        trusted = disk.text(effect.ca_path)
        if trusted is None:
            return f"No such file or directory: {effect.ca_path}"
        if refusal := decide_refusal(endpoint.certificate_pem, trusted, now, host):
            return f"the server's certificate is not accepted: {refusal}"
    else:
        return "the server's certificate is not accepted: unable to get local issuer certificate"
    if endpoint.client_ca_pem and not endpoint.anonymous:
        shown = disk.text(effect.cert_path) if effect.cert_path else None
        refusal = decide_refusal(shown or "", endpoint.client_ca_pem, now)
        return f"the server refused the client's certificate: {refusal}" if refusal else None
    return None
