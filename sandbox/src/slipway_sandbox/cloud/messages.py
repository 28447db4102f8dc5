"""What goes into the emulated cloud and what comes out: HTTP without a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs, urlsplit

Json = dict[str, Any]


class Breakage(StrEnum):
    """How an answer gets lost between the cloud and its caller."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    CUT = "cut"


class Refused(Exception):
    """A request the cloud answers with an error; the service it went to decides how the body looks.

    `kind` is the service's own name of the error where it has one (Neutron's exception type).
    """

    def __init__(self, status: int, message: str, kind: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.headers = headers or {}


@dataclass(frozen=True)
class Request:
    """One HTTP request; `path` begins with the service's prefix, header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(
        cls,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload: Json | None = None,
    ) -> Request:
        """Build a request from a URL or a path with a query; `payload` is sent as JSON."""
        parts = urlsplit(url)
        return cls(
            method=method.upper(),
            path=parts.path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body if payload is None else json.dumps(payload).encode(),
        )

    def first(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default

    def json(self) -> Json:
        """The body as a JSON object, or `Refused` with 400."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refused(400, "Malformed JSON in request body.", "HTTPBadRequest") from error
        if not isinstance(value, dict):
            raise Refused(400, "The request body must be a JSON object.", "HTTPBadRequest")
        return value


@dataclass
class Response:
    """One HTTP answer, with what a fault does to it on its way: `delay` in seconds, then `breakage`."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    breakage: Breakage | None = None

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


def answer(status: int, payload: object = None, **headers: str) -> Response:
    """A JSON answer; an absent payload is an empty body. Underscores in header names become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if payload is None:
        return Response(status, b"", named)
    named.setdefault("Content-Type", "application/json")
    return Response(status, json.dumps(payload, separators=(",", ":")).encode(), named)
