"""The KubernetesApi port by kubernetes-asyncio's client: raw JSON, a client for each piece of work.

Certificate and key are read by the TLS context from memory files and never touch a disk.
"""

import json
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.errors import RetryLater
from slipway_provisioner.adapters.kubernetes_objects import SOON, Metadata, Pod, must_leave, read_node
from slipway_provisioner.domain.bindings import cluster_role_bindings, cluster_roles
from slipway_provisioner.domain.kubernetes_nodes import KEPT, Upkeep
from slipway_provisioner.ports import ClusterAccess, Eviction, KubernetesNode

PAGE = "250"
FIELD_MANAGER = "slipway-provisioner"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_MERGE, _APPLY = "application/merge-patch+json", "application/apply-patch+yaml"


@dataclass(frozen=True)
class _Answer:
    status: int
    body: dict[str, Any]


class _Client:
    """One cluster's API during one piece of work."""

    def __init__(self, api: ApiClient, timeout: timedelta, calls: ProviderCalls) -> None:
        self._api = api
        self._calls = calls
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
        expected: tuple[int, ...] = (),
    ) -> _Answer:
        """One request; statuses of success and the expected ones are returned, all else is RetryLater."""
        with self._calls.made("kubernetes", method):
            return await self._ask(method, path, query, body, content_type, expected)

    async def _ask(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        body: dict[str, Any] | None,
        content_type: str,
        expected: tuple[int, ...],
    ) -> _Answer:
        try:
            answer = await self._api.call_api(
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=self._timeout,
            )
            content = await answer.read()
        except TimeoutError as error:
            raise RetryLater(SOON, "ApiTimeout", "The cluster's API did not answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise RetryLater(SOON, "ApiUnreachable", f"The cluster's API cannot be reached: {error}"[:500]) from error
        read = _object(content)
        if answer.status >= 400 and answer.status not in expected:
            message = str(read.get("message", ""))[:300]
            raise RetryLater(SOON, "ApiRefuses", f"The cluster's API answered {answer.status}: {message}")
        return _Answer(answer.status, read)

    async def list(self, path: str, *query: tuple[str, str]) -> list[dict[str, Any]]:
        """All items, page by page."""
        items: list[dict[str, Any]] = []
        more: list[tuple[str, str]] = []
        while True:
            answer = await self.ask("GET", path, query=[("limit", PAGE), *query, *more])
            page = answer.body.get("items", [] if "metadata" in answer.body else None)
            if page is None:
                raise RetryLater(SOON, "ApiUnreadable", "The cluster's API answered something that is no list")
            items.extend(page)
            token = (answer.body.get("metadata") or {}).get("continue")
            if not token:
                return items
            more = [("continue", token)]


Connect = Callable[[ClusterAccess], ApiClient]
"""A client of one cluster's API; a simulation has its own."""


class KubernetesClusters:
    """See ports.KubernetesApi."""

    def __init__(self, timeout: timedelta, connect: Connect | None = None, calls: ProviderCalls | None = None) -> None:
        self._timeout = timeout
        self._calls = calls or ProviderCalls()
        self._connect = connect or _api_client

    async def is_ready(self, access: ClusterAccess) -> bool:
        """See ports.KubernetesApi."""
        try:
            async with self._client(access) as client:
                return (await client.ask("GET", "/readyz", expected=(401, 403, 500, 503))).status == 200
        except RetryLater:
            return False

    async def is_bound(self, access: ClusterAccess) -> bool:
        """See ports.KubernetesApi."""
        async with self._client(access) as client:
            for path, wanted in _bindings():
                answer = await client.ask("GET", path, expected=(403, 404))
                if answer.status != 200 or any(
                    answer.body.get(part) != wanted[part] for part in ("rules", "roleRef", "subjects") if part in wanted
                ):
                    return False
        return True

    async def ensure_bindings(self, access: ClusterAccess) -> None:
        """See ports.KubernetesApi."""
        query = [("fieldManager", FIELD_MANAGER), ("force", "true")]
        async with self._client(access) as client:
            for path, wanted in _bindings():
                await client.ask("PATCH", path, query=query, body=wanted, content_type=_APPLY)

    async def nodes(self, access: ClusterAccess) -> tuple[KubernetesNode, ...]:
        """See ports.KubernetesApi."""
        async with self._client(access) as client:
            return tuple(read_node(item) for item in await client.list("/api/v1/nodes"))

    async def keep_node(self, access: ClusterAccess, node: KubernetesNode, change: Upkeep) -> bool:
        """See ports.KubernetesApi. A list of taints is replaced as a whole, so it must be the one that was seen."""
        metadata: dict[str, Any] = {"resourceVersion": node.version, "labels": dict(change.labels)}
        if change.kept is not None:
            metadata["annotations"] = {KEPT: change.kept}
        body: dict[str, Any] = {"metadata": metadata}
        if change.taints is not None:
            body["spec"] = {"taints": list(change.taints)}
        return await self._patch_node(access, node.name, body, expected=(404, 409)) == 200

    async def cordon(self, access: ClusterAccess, node_name: str, *, on: bool) -> None:
        """See ports.KubernetesApi."""
        await self._patch_node(access, node_name, {"spec": {"unschedulable": on}})

    async def evict(self, access: ClusterAccess, node_name: str) -> Eviction:
        """See ports.KubernetesApi. A pod's own grace period is honoured."""
        remaining = refused = 0
        async with self._client(access) as client:
            pods = await client.list("/api/v1/pods", ("fieldSelector", f"spec.nodeName={node_name}"))
            for pod in (Pod.model_validate(each) for each in pods):
                if not must_leave(pod):
                    continue
                remaining += 1
                if pod.metadata.deleted_at is None:
                    refused += not await self._evict(client, pod.metadata)
        return Eviction(remaining, refused)

    async def delete_node(self, access: ClusterAccess, node_name: str, provider_id: str | None) -> None:
        """See ports.KubernetesApi."""
        path = f"/api/v1/nodes/{node_name}"
        async with self._client(access) as client:
            answer = await client.ask("GET", path, expected=(404,))
            if answer.status == 404:
                return
            node = read_node(answer.body)
            if provider_id is not None and node.provider_id != provider_id:
                return
            uid = (answer.body.get("metadata") or {}).get("uid")
            options = {"preconditions": {"uid": uid}} if uid else {}
            await client.ask("DELETE", path, body=options, expected=(404, 409))

    async def _patch_node(
        self, access: ClusterAccess, node_name: str, change: dict[str, Any], expected: tuple[int, ...] = (404,)
    ) -> int:
        async with self._client(access) as client:
            path = f"/api/v1/nodes/{node_name}"
            return (await client.ask("PATCH", path, body=change, content_type=_MERGE, expected=expected)).status

    async def _evict(self, client: _Client, pod: Metadata) -> bool:
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
        }
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction"
        return (await client.ask("POST", path, body=body, expected=(404, 429))).status != 429

    @asynccontextmanager
    async def _client(self, access: ClusterAccess) -> AsyncIterator[_Client]:
        try:
            api = self._connect(access)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise RetryLater(SOON, "ApiUnreachable", f"The access to the cluster cannot be used: {error}") from error
        async with api:
            yield _Client(api, self._timeout, self._calls)


def _bindings() -> Iterator[tuple[str, dict[str, Any]]]:
    for role in cluster_roles():
        yield f"{_RBAC}/clusterroles/{role['metadata']['name']}", role
    for binding in cluster_role_bindings():
        yield f"{_RBAC}/clusterrolebindings/{binding['metadata']['name']}", binding


def _object(content: bytes) -> dict[str, Any]:
    try:
        body = json.loads(content)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _api_client(access: ClusterAccess) -> ApiClient:
    configuration = Configuration(host=access.endpoint)
    configuration.connection_pool_maxsize = 2
    with ExitStack() as files:
        configuration.ssl_ca_cert = files.enter_context(_in_memory(access.ca_pem))
        configuration.cert_file = files.enter_context(_in_memory(access.certificate_pem))
        configuration.key_file = files.enter_context(_in_memory(access.key_pem))
        return ApiClient(configuration)


@contextmanager
def _in_memory(content: str) -> Iterator[str]:
    """A path that holds the content while the block lasts (Linux)."""
    descriptor = os.memfd_create("slipway")
    try:
        os.write(descriptor, content.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
