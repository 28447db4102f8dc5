"""The REST API over HTTP: answers as plain documents, failures as sentences."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx

from slipway_cli.errors import CommandFailed, Exit, failure_of
from slipway_cli.session import Login

_NOT_NAMES = ("", ".", "..")

TIMEOUT = httpx.Timeout(30.0, connect=5.0)
PAGE = 200

Document = dict[str, Any]


def path_of(*parts: str) -> str:
    """The path of an object of the API: words, and names or ids that a user gave.

    CommandFailed for what is no name and would make another path of it: `cluster delete shop/pools/gpu` is no wish for
    a pool's end.
    """
    for part in parts:
        if part in _NOT_NAMES or "/" in part:
            raise CommandFailed(Exit.USAGE, f"{part!r} is no name or id; give the one that the list shows.")
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


class Client:
    """Talks to the API as the person of a login."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self._http = httpx.Client(base_url=login.endpoint, headers=login.headers, timeout=TIMEOUT, verify=login.verify)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Document:
        """One object or one page."""
        return self._ask("GET", path, query=query)

    def pages(self, path: str, **query: Any) -> Iterator[Document]:
        """All entries of a list, page after page."""
        marker: str | None = None
        while True:
            page = self.get(path, limit=PAGE, marker=marker, **query)
            yield from page["items"]
            marker = page.get("next")
            if marker is None:
                return

    def events(self, **query: Any) -> Iterator[Document]:
        """All events that are kept, oldest first."""
        after: str | None = "0"
        while after is not None:
            page = self._ask("GET", "/v1/events", query={"limit": PAGE, "after": after, **query})
            yield from page["items"]
            after = page.get("next")

    def post(self, path: str, body: Mapping[str, Any]) -> Document:
        """Create something. Asked again after a lost connection it is still made once."""
        return self._ask("POST", path, body=body, key=str(uuid.uuid4()))

    def patch(self, path: str, body: Mapping[str, Any]) -> Document:
        """Change something."""
        return self._ask("PATCH", path, body=body, key=str(uuid.uuid4()))

    def delete(self, path: str) -> Document:
        """Delete something."""
        return self._ask("DELETE", path, key=str(uuid.uuid4()))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Document:
        headers = {"Accept": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        asked = {name: value for name, value in (query or {}).items() if value not in (None, (), [])}
        request = self._http.build_request(method, path, params=asked, json=body, headers=headers)
        response = self._send(request)
        if response.status_code == 401:
            request.headers["X-Auth-Token"] = self.login.renew()
            response = self._send(request, renewed=True)
        return read_answer(response)

    def _send(self, request: httpx.Request, *, renewed: bool = False) -> httpx.Response:
        if not renewed:
            request.headers["X-Auth-Token"] = self.login.token()
        try:
            return self._http.send(request)
        except httpx.ConnectError as error:
            raise unreachable(self.login.endpoint, error) from error
        except httpx.TransportError:
            # the key makes it harmless to ask once more
            try:
                return self._http.send(request)
            except httpx.TransportError as error:
                raise unreachable(self.login.endpoint, error) from error


def read_answer(response: httpx.Response) -> Document:
    """The document of an answer; CommandFailed when it is no success."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if response.is_success and isinstance(document, dict):
        return document
    raise failure_of(response.status_code, document if isinstance(document, dict) else None, str(response.url))


def unreachable(endpoint: str, error: Exception) -> CommandFailed:
    """The failure when nobody answers."""
    why = "no answer in time" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__
    return CommandFailed(
        Exit.UNREACHABLE,
        f"The Slipway API at {endpoint} is not reachable ({why}); check --endpoint or SLIPWAY_ENDPOINT.",
    )
