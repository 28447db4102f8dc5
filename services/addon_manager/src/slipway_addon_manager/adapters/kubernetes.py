"""Clusters' Kubernetes APIs by kubernetes-asyncio: raw JSON both ways, one client for one look.

What a request means is in `KubernetesApi`; how it travels is a `Call`, which a simulation exchanges.
"""

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from kubernetes_asyncio.client import ApiClient, Configuration

from slipway_addon_manager.domain.model import (
    ADDON_LABEL,
    MANAGED_BY,
    ManagedObject,
    Manifest,
    ObjectReference,
    WorkloadStatus,
)
from slipway_addon_manager.ports import ClusterApi
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.signing import ClusterCredential
from slipway_contracts.values import Mover

FIELD_MANAGER = "slipway-addon-manager"
PAGE = 250
SOON = timedelta(seconds=10)
CONNECTIONS = 1
_LONGEST_MESSAGE = 600

PATHS: Mapping[tuple[str, str], tuple[str, bool]] = {
    ("v1", "ServiceAccount"): ("/api/v1", True),
    ("v1", "ConfigMap"): ("/api/v1", True),
    ("v1", "Service"): ("/api/v1", True),
    ("apps/v1", "DaemonSet"): ("/apis/apps/v1", True),
    ("apps/v1", "Deployment"): ("/apis/apps/v1", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): ("/apis/rbac.authorization.k8s.io/v1", False),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("/apis/rbac.authorization.k8s.io/v1", False),
}
"""The kinds that addons consist of: where their API is, and whether they live in a namespace."""

Call = Callable[[str, str, Mapping[str, str], Any], Awaitable[tuple[int, bytes]]]
"""`call(method, path, query, body)` -> status and body. Raises RetryLater ClusterUnreachable, and nothing else."""


class KubernetesClusters:
    """Clusters, over TLS with the credential's certificate."""

    def __init__(self, timeout: timedelta, calls: ProviderCalls | None = None) -> None:
        self._timeout = timeout
        self._calls = calls or ProviderCalls()

    def connect(self, credential: ClusterCredential) -> AbstractAsyncContextManager[ClusterApi]:
        """See the port."""
        return self._connected(credential)

    @asynccontextmanager
    async def _connected(self, credential: ClusterCredential) -> AsyncIterator[ClusterApi]:
        client = _client(credential)
        try:
            yield KubernetesApi(_counted(_travelling(client, self._timeout), self._calls))
        finally:
            await client.close()


class KubernetesApi:
    """ClusterApi over a Call."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def apply(self, manifest: Manifest) -> str:
        """See the port."""
        reference = ObjectReference.of(manifest)
        query = {"fieldManager": FIELD_MANAGER, "force": "true", "fieldValidation": "Strict"}
        status, content = await self._call("PATCH", _path(reference), query, manifest)
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise _refused(status, content, f"apply {reference}")
        return str(_object(content)["metadata"].get("resourceVersion", ""))

    async def managed(self) -> Sequence[ManagedObject]:
        """See the port."""
        found: list[ManagedObject] = []
        for api_version, kind in PATHS:
            found += [_managed(api_version, kind, item) for item in await self._list(api_version, kind)]
        return found

    async def delete(self, found: ManagedObject) -> None:
        """See the port."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": found.uid},
            "propagationPolicy": "Background",
        }
        status, content = await self._call("DELETE", _path(found.reference), {}, options)
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            return
        raise _refused(status, content, f"delete {found.reference}")

    async def workload(self, reference: ObjectReference) -> WorkloadStatus | None:
        """See the port."""
        status, content = await self._call("GET", _path(reference), {}, None)
        if status == HTTPStatus.NOT_FOUND and _is_status(content):
            return None
        if status != HTTPStatus.OK:
            raise _refused(status, content, f"read {reference}")
        return _workload(reference, _object(content))

    async def _list(self, api_version: str, kind: str) -> list[dict[str, Any]]:
        selector = ",".join([*(f"{key}={value}" for key, value in MANAGED_BY.items()), ADDON_LABEL])
        items: list[dict[str, Any]] = []
        query = {"labelSelector": selector, "limit": str(PAGE)}
        while True:
            status, content = await self._call("GET", _collection(api_version, kind), query, None)
            if status != HTTPStatus.OK:
                raise _refused(status, content, f"list {kind} objects")
            document = _object(content)
            if not isinstance(document.get("items"), list):
                raise _not_understood(f"list {kind} objects")
            items += document["items"]
            more = document["metadata"].get("continue")
            if not more:
                return items
            query["continue"] = more


def _client(credential: ClusterCredential) -> ApiClient:
    """The credential's key is read from memory, not from a disk."""
    configuration = Configuration(host=credential.endpoint)
    configuration.connection_pool_maxsize = CONNECTIONS
    with ExitStack() as files:
        configuration.ssl_ca_cert = files.enter_context(_in_memory(credential.ca_pem))
        configuration.cert_file = files.enter_context(_in_memory(credential.certificate_pem))
        configuration.key_file = files.enter_context(_in_memory(credential.key_pem))
        return ApiClient(configuration)


@contextmanager
def _in_memory(content: str) -> Iterator[str]:
    """A path that holds the content while the block lasts, and never touches a disk (Linux)."""
    descriptor = os.memfd_create("slipway")
    try:
        os.write(descriptor, content.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _counted(call: Call, calls: ProviderCalls) -> Call:
    async def counted(method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, bytes]:
        with calls.made("kubernetes", method):
            return await call(method, path, query, body)

    return counted


def _travelling(client: ApiClient, timeout: timedelta) -> Call:
    limit = aiohttp.ClientTimeout(total=timeout.total_seconds())

    async def call(method: str, path: str, query: Mapping[str, str], body: Any) -> tuple[int, bytes]:
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        try:
            answer = await client.rest_client.request(
                method,
                f"{client.configuration.host}{path}",
                query_params=dict(query),
                headers={"Content-Type": kind, "Accept": "application/json", "User-Agent": FIELD_MANAGER},
                body=body,
                _preload_content=False,
                _request_timeout=limit,
            )
            return answer.status, await answer.read()
        except TimeoutError as error:
            message = f"The cluster's API did not answer within {timeout.total_seconds():g} s"
            raise RetryLater(SOON, "ClusterUnreachable", message) from error
        except (aiohttp.ClientError, OSError) as error:
            message = f"The cluster's API cannot be reached: {error}"[:_LONGEST_MESSAGE]
            raise RetryLater(SOON, "ClusterUnreachable", message) from error

    return call


def _path(reference: ObjectReference) -> str:
    return f"{_collection(reference.api_version, reference.kind, reference.namespace)}/{quote(reference.name, safe='')}"


def _collection(api_version: str, kind: str, namespace: str | None = None) -> str:
    known = PATHS.get((api_version, kind))
    if known is None:
        raise GiveUp("ManifestRefused", f"{api_version} {kind} is no kind that addons consist of")
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{known[0]}{place}/{kind.lower()}s"


def _refused(status: int, content: bytes, what: str) -> RetryLater | GiveUp:
    said = f"Cannot {what}: {status} {_message(content)}".strip()
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return RetryLater(SOON, "CredentialExpired", said)
        case HTTPStatus.FORBIDDEN:
            return RetryLater(SOON, "PermissionMissing", said)
        case HTTPStatus.NOT_FOUND:
            return RetryLater(SOON, "NamespaceMissing", said)
        case HTTPStatus.CONFLICT:
            return RetryLater(SOON, "ConflictingChange", said)
        case (
            HTTPStatus.BAD_REQUEST
            | HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            | HTTPStatus.UNSUPPORTED_MEDIA_TYPE
            | HTTPStatus.UNPROCESSABLE_ENTITY
        ):
            return GiveUp("ManifestRefused", said, whose_move=Mover.OPERATOR)
        case _:
            return RetryLater(SOON, "ClusterUnreachable", said)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content).get("message", ""))[:_LONGEST_MESSAGE]
    except (ValueError, AttributeError):
        return content[:100].decode(errors="replace")


def _is_status(content: bytes) -> bool:
    """Whether the API itself said so, and not something before it that knows no such path."""
    try:
        return bool(_object(content).get("kind") == "Status")
    except RetryLater:
        return False


def _object(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError as error:
        raise _not_understood("read an answer") from error
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        raise _not_understood("read an answer")
    return document


def _not_understood(what: str) -> RetryLater:
    return RetryLater(SOON, "ClusterUnreachable", f"Cannot {what}: the answer is not one of a Kubernetes API")


def _managed(api_version: str, kind: str, item: dict[str, Any]) -> ManagedObject:
    try:
        metadata = item["metadata"]
        return ManagedObject(
            reference=ObjectReference(api_version, kind, metadata.get("namespace"), metadata["name"]),
            addon=metadata["labels"][ADDON_LABEL],
            uid=metadata["uid"],
            version=metadata["resourceVersion"],
        )
    except (KeyError, TypeError) as error:
        raise _not_understood(f"list {kind} objects") from error


def _workload(reference: ObjectReference, found: dict[str, Any]) -> WorkloadStatus:
    status = found.get("status") or {}
    observed = status.get("observedGeneration", 0) >= found["metadata"].get("generation", 1)
    if reference.kind == "DaemonSet":
        wanted, updated = status.get("desiredNumberScheduled", 0), status.get("updatedNumberScheduled", 0)
        available = status.get("numberAvailable", 0)
    else:
        wanted, updated = found["spec"].get("replicas", 1), status.get("updatedReplicas", 0)
        available = status.get("availableReplicas", 0)
    return WorkloadStatus(reference, wanted, min(updated, available), observed)
