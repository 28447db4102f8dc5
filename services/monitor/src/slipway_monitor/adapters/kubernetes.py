"""Clusters' Kubernetes APIs by kubernetes-asyncio: raw lists, parsed narrowly; one client for each cluster.

The client's TLS context reads the credential's key from a memory file; it never touches a disk.
"""

import json
import os
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration, CoordinationV1Api, CoreV1Api
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.errors import RetryLater
from slipway_chassis.signing import ClusterCredential
from slipway_monitor.domain.model import NodeView
from slipway_monitor.ports import Credentials, Target

PAGE = 500
SOON = timedelta(seconds=10)
CONNECTIONS = 2


class _Named(BaseModel):
    name: str


class _LeaseSpec(BaseModel):
    renew_time: AwareDatetime | None = Field(default=None, alias="renewTime")


class _Lease(BaseModel):
    metadata: _Named
    spec: _LeaseSpec = _LeaseSpec()


class _Condition(BaseModel):
    type: str
    status: str
    reason: str = ""
    message: str = ""


class _NodeSpec(BaseModel):
    provider_id: str | None = Field(default=None, alias="providerID")


class _NodeStatus(BaseModel):
    conditions: list[_Condition] | None = None


class _Node(BaseModel):
    metadata: _Named
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()


_LEASES = TypeAdapter(list[_Lease])
_NODES = TypeAdapter(list[_Node])

List = Callable[..., Awaitable[Any]]

Connect = Callable[[Target, ClusterCredential], ApiClient]
"""A client of one cluster's API with a credential; a simulation has its own."""


@dataclass
class _Client:
    target: Target
    credential: ClusterCredential
    api: ApiClient


class KubernetesClusters:
    """ClusterApi. Each call, signing included, ends within a few timeouts."""

    def __init__(
        self,
        credentials: Credentials,
        timeout: timedelta,
        connect: Connect | None = None,
        calls: ProviderCalls | None = None,
    ) -> None:
        self._calls = calls or ProviderCalls()
        self._credentials = credentials
        self._connect = connect or _api_client
        self._timeout = timeout
        self._clients: dict[str, _Client] = {}

    async def renewals(self, target: Target) -> Mapping[str, datetime]:
        """See the port."""
        client = await self._client(target)
        items = await self._list(client, CoordinationV1Api(client.api).list_namespaced_lease, "kube-node-lease")
        leases = self._parse(_LEASES, items, target)
        return {each.metadata.name: each.spec.renew_time for each in leases if each.spec.renew_time is not None}

    async def nodes(self, target: Target) -> Mapping[str, NodeView]:
        """See the port."""
        client = await self._client(target)
        items = await self._list(client, CoreV1Api(client.api).list_node)
        return {node.metadata.name: _view(node) for node in self._parse(_NODES, items, target)}

    async def forget(self, cluster_id: str) -> None:
        """See the port."""
        self._credentials.forget(cluster_id)
        await self._disconnect(cluster_id)

    async def close(self) -> None:
        """Close all connections."""
        for cluster_id in list(self._clients):
            await self._disconnect(cluster_id)

    async def _client(self, target: Target) -> _Client:
        credential = await self._credentials.of(target.cluster_id)
        known = self._clients.get(target.cluster_id)
        if known is not None and known.target == target and known.credential is credential:
            return known
        await self._disconnect(target.cluster_id)
        client = _Client(target, credential, self._connect(target, credential))
        self._clients[target.cluster_id] = client
        return client

    async def _disconnect(self, cluster_id: str) -> None:
        client = self._clients.pop(cluster_id, None)
        if client is not None:
            await client.api.close()

    async def _list(self, client: _Client, call: List, *arguments: str) -> list[Any]:
        """All items, page by page, as decoded JSON."""
        items: list[Any] = []
        more = ""
        while True:
            with self._calls.made("kubernetes", "GET"):
                document = await self._page(client, call, arguments, more)
            items.extend(document.get("items") or ())
            more = (document.get("metadata") or {}).get("continue") or ""
            if not more:
                return items

    async def _page(self, client: _Client, call: List, arguments: tuple[str, ...], more: str) -> dict[str, Any]:
        options: dict[str, Any] = {"limit": PAGE, **({"_continue": more} if more else {})}
        timeout = aiohttp.ClientTimeout(total=self._timeout.total_seconds())
        try:
            answer = await call(*arguments, **options, _preload_content=False, _request_timeout=timeout)
            content = await answer.read()
        except TimeoutError as error:
            seconds = f"{self._timeout.total_seconds():g}"
            raise RetryLater(SOON, "ApiTimeout", f"The API did not answer within {seconds} s") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError) as error:
            raise RetryLater(SOON, "ApiUnreachable", f"The API cannot be reached: {error}"[:500]) from error
        if answer.status == 401:
            # an unknown or expired certificate: a new one is asked for at the next look
            await self.forget(client.target.cluster_id)
        if answer.status != 200:
            raise RetryLater(SOON, "ApiRefused", f"The API answered {answer.status}: {_message(content)}")
        try:
            document = json.loads(content)
        except ValueError as error:
            raise RetryLater(SOON, "ApiAnswerInvalid", "The API's answer is no JSON") from error
        if not isinstance(document, dict) or "items" not in document:
            raise RetryLater(SOON, "ApiAnswerInvalid", "The API's answer is no list")
        return document

    def _parse(self, adapter: TypeAdapter[Any], items: list[Any], target: Target) -> list[Any]:
        try:
            parsed: list[Any] = adapter.validate_python(items)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise RetryLater(SOON, "ApiAnswerInvalid", f"The API's list is not understood: {first['msg']}") from error
        return parsed


def _view(node: _Node) -> NodeView:
    ready = next((each for each in node.status.conditions or () if each.type == "Ready"), None)
    if ready is None:
        return NodeView(node.metadata.name, None, "it has no Ready condition yet", node.spec.provider_id)
    detail = f"{ready.reason}: {ready.message}"[:300] if ready.message else ready.reason
    status = {"True": True, "False": False}.get(ready.status)
    return NodeView(node.metadata.name, status, detail, node.spec.provider_id)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content).get("message", ""))[:300]
    except (ValueError, AttributeError):
        return content[:100].decode(errors="replace")


def _api_client(target: Target, credential: ClusterCredential) -> ApiClient:
    configuration = Configuration(host=target.endpoint)
    configuration.connection_pool_maxsize = CONNECTIONS
    with ExitStack() as files:
        configuration.ssl_ca_cert = files.enter_context(_in_memory(target.ca_pem.encode()))
        configuration.cert_file = files.enter_context(_in_memory(credential.certificate_pem.encode()))
        configuration.key_file = files.enter_context(_in_memory(credential.key_pem.encode()))
        return ApiClient(configuration)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path that holds the content while the block lasts, and never touches a disk (Linux)."""
    descriptor = os.memfd_create("slipway")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
