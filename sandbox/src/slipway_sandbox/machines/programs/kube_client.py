"""A kubelet's way to its API server: what its kubeconfig says, over the runner's shared connections."""

import base64
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import yaml

from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Exited
from slipway_sandbox.machines.tls import client_context

_TIMEOUT = aiohttp.ClientTimeout(total=10.0)
_WATCH_LATE = 30.0
_HEADERS = {"User-Agent": "kubelet/emulated", "Accept": "application/json"}


class ApiFailed(Exception):
    """The API server did not answer, or refused; one line for the log."""


@dataclass(frozen=True)
class KubeClient:
    """One user of one API server."""

    server: str
    ca_pem: str | None
    certificate_pem: str | None
    key_pem: str | None
    http: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Status and body of one request. Raises ApiFailed when there is no answer."""
        headers = dict(_HEADERS)
        kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
        if body is not None:
            headers["Content-Type"] = kind
        data = None if body is None else json.dumps(body)
        async with self._named_failures(method):
            context = client_context(self.ca_pem, self.certificate_pem, self.key_pem)
            async with self.http.request(
                method, self.server + path, data=data, headers=headers, ssl=context, timeout=_TIMEOUT
            ) as answer:
                return answer.status, await answer.json(content_type=None)

    async def watch(self, path: str, seconds: int) -> AsyncIterator[dict[str, Any]]:
        """The events of a watch until it ends, by itself after so many seconds. Raises ApiFailed when it breaks."""
        url = f"{self.server}{path}&watch=1&timeoutSeconds={seconds}"
        timeout = aiohttp.ClientTimeout(total=seconds + _WATCH_LATE)
        async with self._named_failures("WATCH"):
            context = client_context(self.ca_pem, self.certificate_pem, self.key_pem)
            async with self.http.get(url, headers=_HEADERS, ssl=context, timeout=timeout) as answer:
                if answer.status != 200:
                    self.expect(answer.status, await answer.json(content_type=None), "Failed to watch")
                rest = b""
                async for block in answer.content.iter_any():
                    *lines, rest = (rest + block).split(b"\n")
                    for line in lines:
                        yield json.loads(line)

    def expect(self, status: int, answer: dict[str, Any], what: str) -> None:
        """Raises ApiFailed unless the status is a success."""
        if status >= 300:
            raise ApiFailed(f"{what}: {answer.get('message', status)}")

    @contextlib.asynccontextmanager
    async def _named_failures(self, method: str) -> AsyncIterator[None]:
        """Whatever keeps the API from answering becomes an ApiFailed."""
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            cause = error.os_error.strerror or error.os_error
            raise ApiFailed(f"{method} {self.server}: dial tcp: {cause}") from error
        except (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError, ValueError) as error:
            raise ApiFailed(f"{method} {self.server}: {type(error).__name__} {error}") from error


def read_kubeconfig(text: str, host: EmulatedHost, http: aiohttp.ClientSession) -> KubeClient:
    """The current context's cluster and user, embedded or in files of the host. Raises Exited for no kubeconfig."""
    try:
        config = yaml.safe_load(text)
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        return KubeClient(
            server=cluster["server"].rstrip("/"),
            ca_pem=_text(cluster, "certificate-authority", host),
            certificate_pem=_text(user, "client-certificate", host),
            key_pem=_text(user, "client-key", host),
            http=http,
        )
    except (yaml.YAMLError, KeyError, TypeError, StopIteration, ValueError) as error:
        raise Exited(f"invalid configuration: {type(error).__name__} {error}") from error


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _text(holder: dict[str, Any], key: str, host: EmulatedHost) -> str | None:
    if data := holder.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    path = holder.get(key)
    if not path:
        return None
    text = host.read_file(path)
    if text is None:
        raise ValueError(f"unable to read {key} {path}")
    return text
