"""Calls, probes and downloads over real sockets. Every answer is bounded in time and size; nothing here raises.

TLS is verified strictly, host names included; a proxy of the environment is used for downloads only.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from slipway_node_agent import __version__
from slipway_node_agent.effects import Call, CallFailed, Fetch, Fetched, Probe, ProbeAnswer, Reply

BODY_LIMIT = 16 * 1024 * 1024
"""Bytes of an answer; a plan with all its files is a few hundred kilobytes."""

FETCH_STALL = 30.0
"""Seconds without a byte until a download fails."""

_FAULTS = (OSError, http.client.HTTPException, ValueError)
_AGENT = f"slipway-node-agent/{__version__}"

Locate = Callable[[str], Path]


def perform_call(effect: Call, locate: Locate) -> Reply | CallFailed:
    """One request on a connection of its own."""
    body = None if effect.body is None else json.dumps(effect.body).encode()
    try:
        context = build_context(locate, effect.ca_path, effect.cert_path, effect.key_path)
        status, headers, content = _request(effect.method, effect.url, body, context, effect.timeout)
    except _FAULTS as error:
        return CallFailed(f"cannot reach {effect.origin}: {describe(error, effect.timeout)}")
    return Reply(status, _object(content), headers)


def perform_probe(effect: Probe, locate: Locate) -> ProbeAnswer:
    """One look at a health endpoint."""
    try:
        secure = effect.url.startswith("https:")
        context = build_context(locate, effect.ca_path, effect.cert_path, effect.key_path) if secure else None
        status, _, _ = _request("GET", effect.url, None, context, effect.timeout)
    except _FAULTS as error:
        return ProbeAnswer(None, describe(error, effect.timeout))
    return ProbeAnswer(status, f"{status} {http.client.responses.get(status, '')}".strip())


def perform_fetch(effect: Fetch, locate: Locate) -> Fetched | CallFailed:
    """One download; the file appears at its path complete and checked, or not at all."""
    target = locate(effect.path)
    draft = target.with_name(f".{target.name}.slipway-part")
    if urlsplit(effect.url).scheme not in ("http", "https"):
        return CallFailed("only http and https are downloaded from")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = _download(effect, draft)
        if digest == effect.sha256:
            draft.chmod(effect.mode)
            draft.replace(target)
    except urllib.error.HTTPError as error:
        error.close()
        return CallFailed(f"the mirror answered {error.code} {error.reason}")
    except _FAULTS as error:
        return CallFailed(describe(error, effect.timeout))
    finally:
        draft.unlink(missing_ok=True)
    return Fetched(digest)


def build_context(locate: Locate, ca_path: str | None, cert_path: str | None, key_path: str | None) -> ssl.SSLContext:
    """Strict verification by that CA alone, or by the system's where there is none; raises OSError for a bad file."""
    context = ssl.create_default_context(cafile=None if ca_path is None else str(locate(ca_path)))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if cert_path is not None:
        context.load_cert_chain(str(locate(cert_path)), None if key_path is None else str(locate(key_path)))
    return context


def describe(error: Exception, timeout: float) -> str:
    """A failure in a few words that a user understands."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not accepted: {cause.verify_message}"
    if isinstance(cause, socket.timeout):
        return f"no answer within {timeout:g} s"
    if isinstance(cause, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror if cause.filename is None else f"{cause.strerror}: {cause.filename}"
    return f"{type(cause).__name__} {cause}".strip()


def _request(
    method: str, url: str, body: bytes | None, context: ssl.SSLContext | None, timeout: float
) -> tuple[int, Mapping[str, str], bytes]:
    parts = urlsplit(url)
    connection = _connect(parts, context, timeout)
    headers = {"User-Agent": _AGENT, "Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        content = _read(response, time.monotonic() + timeout)
        return response.status, {name.lower(): value for name, value in response.getheaders()}, content
    finally:
        connection.close()


def _connect(parts: SplitResult, context: ssl.SSLContext | None, timeout: float) -> http.client.HTTPConnection:
    if not parts.hostname:
        raise ValueError("the URL has no host")
    if context is None:
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=context)


def _read(response: http.client.HTTPResponse, until: float) -> bytes:
    """A socket's timeout bounds each read, not their number: a server could drip for ever."""
    content = bytearray()
    while block := response.read1(65536):
        content += block
        if len(content) > BODY_LIMIT:
            raise ValueError(f"the answer is longer than {BODY_LIMIT} bytes")
        if time.monotonic() > until:
            raise socket.timeout
    return bytes(content)


def _download(effect: Fetch, draft: Path) -> str:
    digest, until = hashlib.sha256(), time.monotonic() + effect.timeout
    request = urllib.request.Request(effect.url, headers={"User-Agent": _AGENT})  # noqa: S310 the caller checked it
    stall = min(FETCH_STALL, effect.timeout)
    with urllib.request.urlopen(request, timeout=stall) as source, draft.open("wb") as file:  # noqa: S310
        while block := source.read(1 << 20):
            file.write(block)
            digest.update(block)
            if time.monotonic() > until:
                raise socket.timeout
        file.flush()
        os.fsync(file.fileno())
        if source.length:
            raise ValueError("the download ended early")
    return digest.hexdigest()


def _object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
