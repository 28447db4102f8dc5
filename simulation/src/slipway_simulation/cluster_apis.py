"""Clusters' Kubernetes APIs as clients reach them: an endpoint's address, a load balancer, a controller that is ready.

Behind them is the sandbox's model of Kubernetes, on the storage of the cluster's etcd. Certificates are judged on
both sides as a handshake would.
"""

import asyncio
import functools
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import aiohttp
from cryptography import x509
from cryptography.x509.oid import NameOID
from kubernetes_asyncio.client import ApiClient, Configuration
from kubernetes_asyncio.client.rest import RESTClientObject

from slipway_sandbox.cloud.levers import Levers
from slipway_sandbox.cloud.realize import observe_frontends
from slipway_sandbox.machines.certificates import decide_refusal, load
from slipway_sandbox.machines.kubernetes import ANONYMOUS, KubernetesModel, User
from slipway_simulation.ground import Ground

ANSWER_WITHIN = (0.002, 0.03)
_UNAUTHORIZED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "message": "Unauthorized"}
_NO_ETCD = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "code": 500,
    "message": "etcd: request timed out",
}


class Controller(Protocol):
    """What a machine shows of its API server."""

    def api_model(self) -> KubernetesModel | None:
        """The API that runs there, if it runs."""
        ...

    def api_ready(self) -> bool:
        """Whether /readyz answers 200."""
        ...

    def serving_pem(self) -> str:
        """The certificate it shows."""
        ...

    def clients_ca_pem(self) -> str:
        """The CA of its clients."""
        ...


class Machines(Protocol):
    """Who has which address."""

    def at(self, address: str) -> Controller | None:
        """The running machine with this address."""
        ...


@dataclass(frozen=True)
class Asked:
    """One request, with who asks and whom she trusts."""

    method: str
    url: str
    content_type: str
    body: Any = field(repr=False)
    certificate_pem: str = field(repr=False)
    ca_pem: str = field(repr=False)

    @property
    def authority(self) -> str:
        """Address and port."""
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port}"

    @property
    def path(self) -> str:
        """As the server sees it."""
        return unquote(urlsplit(self.url).path)

    @property
    def query(self) -> dict[str, str]:
        """The parameters."""
        return dict(parse_qsl(urlsplit(self.url).query, keep_blank_values=True))


class ClusterApis:
    """All clusters of the region."""

    def __init__(self, cloud: Levers, ground: Ground) -> None:
        self._cloud = cloud
        self._clock = ground.clock
        self._random = ground.chance("apis")
        self.machines: Machines | None = None

    async def ask(self, asked: Asked) -> tuple[int, bytes]:
        """One request. Raises aiohttp.ClientConnectionError when nobody answers, or is not trusted."""
        await asyncio.sleep(self._random.uniform(*ANSWER_WITHIN))
        controller = self._reach(asked.authority)
        if controller is None:
            raise aiohttp.ClientConnectionError(f"Cannot connect to host {asked.authority}: connection refused")
        if refusal := _handshake(controller.serving_pem(), asked.ca_pem, asked.authority.rpartition(":")[0]):
            raise aiohttp.ClientConnectionError(f"certificate verify failed: {refusal}")
        status, answer = self._answer(controller, asked)
        content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        await asyncio.sleep(self._random.uniform(*ANSWER_WITHIN))
        return status, content

    def is_ready(self, url: str) -> bool:
        """Whether /readyz answers 200 at this endpoint."""
        controller = self._reach(Asked("GET", url, "", None, "", "").authority)
        return controller is not None and controller.api_ready()

    def _answer(self, controller: Controller, asked: Asked) -> tuple[int, Any]:
        model = controller.api_model()
        if asked.path in ("/readyz", "/livez", "/healthz"):
            return (200, "ok") if controller.api_ready() else (500, "[-]etcd failed")
        user = _user_of(asked.certificate_pem, controller.clients_ca_pem(), self._clock.now())
        if user is None:
            return 401, _UNAUTHORIZED
        if model is None or not controller.api_ready():
            return 500, _NO_ETCD
        headers = {"Content-Type": asked.content_type}
        body = b"" if asked.body is None else json.dumps(asked.body).encode()
        return model.answer(asked.method, asked.path, asked.query, headers, body, user)

    def _reach(self, authority: str) -> Controller | None:
        """A controller behind the load balancer that listens there; a healthy one if there is any."""
        assert self.machines is not None, "the machines are known before anybody asks"
        for frontend in observe_frontends(self._cloud).values():
            if f"{frontend.address}:{frontend.port}" != authority:
                continue
            members = [self.machines.at(each.address) for each in frontend.backends if each.weight]
            running = [each for each in members if each is not None and each.api_model() is not None]
            ready = [each for each in running if each.api_ready()]
            return self._random.choice(ready) if ready else None
        return None


@functools.lru_cache(maxsize=512)
def _handshake(serving: str, ca_pem: str, host: str) -> str | None:
    certificate = load(serving)
    if certificate is None:
        return "there is no certificate"
    return decide_refusal(serving, ca_pem, certificate.not_valid_before_utc, host)


@functools.lru_cache(maxsize=512)
def _issued(certificate_pem: str, ca_pem: str) -> x509.Certificate | None:
    certificate = load(certificate_pem)
    if certificate is None or decide_refusal(certificate_pem, ca_pem, certificate.not_valid_before_utc):
        return None
    return certificate


def _user_of(certificate_pem: str, ca_pem: str, now: datetime) -> User | None:
    if not certificate_pem:
        return ANONYMOUS
    certificate = _issued(certificate_pem, ca_pem)
    if certificate is None or not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return None
    return User(_names(certificate, NameOID.COMMON_NAME)[-1], tuple(_names(certificate, NameOID.ORGANIZATION_NAME)))


def _names(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)]


class _Answered:
    """As much of aiohttp's response as the adapters use."""

    def __init__(self, status: int, content: bytes) -> None:
        self.status = status
        self._content = content

    async def read(self) -> bytes:
        """The body."""
        return self._content


class _Rest(RESTClientObject):
    """kubernetes-asyncio's transport, without a socket."""

    def __init__(self, apis: ClusterApis, certificate_pem: str, ca_pem: str) -> None:
        self._apis = apis
        self._certificate_pem = certificate_pem
        self._ca_pem = ca_pem

    async def close(self) -> None:
        """Nothing is open."""

    async def request(self, method: str, url: str, **more: Any) -> _Answered:  # type: ignore[override]
        """As RESTClientObject.request with _preload_content=False."""
        query: Any = more.get("query_params") or ()
        pairs = list(query.items() if isinstance(query, dict) else query)
        kind = (more.get("headers") or {}).get("Content-Type", "application/json")
        full = f"{url}?{urlencode(pairs)}" if pairs else url
        asked = Asked(method, full, kind, more.get("body"), self._certificate_pem, self._ca_pem)
        return _Answered(*await self._apis.ask(asked))


class InProcessClient(ApiClient):
    """kubernetes-asyncio's client of one cluster, without a socket."""

    def __init__(self, apis: ClusterApis, endpoint: str, certificate_pem: str, ca_pem: str) -> None:
        self.configuration = Configuration(host=endpoint)
        self.rest_client = _Rest(apis, certificate_pem, ca_pem)
        self.default_headers: dict[str, str] = {}
        self.cookie = ""
        self.client_side_validation = False
