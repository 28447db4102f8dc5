"""A Kubernetes API for tests: over TLS with client certificates, on a free port of 127.0.0.1.

async with serve_kubernetes() as kubernetes:
    configuration = kubernetes.kubeconfig("alice", ("system:masters",))
    kubernetes.add_node("worker-1")
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway_sandbox.machines.authority import Authority, Credential
from slipway_sandbox.machines.kubernetes import Controllers, KubernetesModel, Storage
from slipway_sandbox.machines.kubernetes.http import ApiServer
from slipway_sandbox.machines.kubernetes.node_status import node_conditions, node_info, node_status
from slipway_sandbox.machines.kubernetes.rbac import MASTER
from slipway_sandbox.machines.tls import server_context

_HEADERS = {"user-agent": "testing/1"}


class KubernetesEndpoint:
    """A running API server, its storage and its CA."""

    def __init__(self, model: KubernetesModel, now: Callable[[], datetime], cluster_cidr: str) -> None:
        self.model = model
        self.storage = model.storage
        self.controllers = Controllers(model.storage, now, cluster_cidr=cluster_cidr)
        self.authority = Authority("kubernetes")
        self.etcd_ready = True
        self.clock_ahead = timedelta(0)  # of the API server, against its clients
        self.url = ""
        self._now = now

    @property
    def ca_pem(self) -> str:
        """The CA that signed the server's certificate and signs its clients'."""
        return self.authority.certificate_pem

    def credential(
        self, user: str, groups: tuple[str, ...] = (), lifetime: timedelta = timedelta(hours=1)
    ) -> Credential:
        """A client certificate: user and groups are its common name and organizations."""
        return self.authority.issue(user, groups, lifetime=lifetime)

    def kubeconfig(self, user: str, groups: tuple[str, ...] = ()) -> dict[str, Any]:
        """A kubeconfig with an embedded certificate."""
        issued = self.credential(user, groups)
        cluster = {"server": self.url, "certificate-authority-data": _b64(self.ca_pem)}
        embedded = {
            "client-certificate-data": _b64(issued.certificate_pem),
            "client-key-data": _b64(issued.key_pem),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": embedded}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }

    def request(self, method: str, path: str, body: dict[str, Any] | None = None, **query: str) -> Any:
        """A request as system:masters, past HTTP. Raises AssertionError when it is refused."""
        headers = _HEADERS | {"content-type": "application/merge-patch+json"}
        status, answer = self.model.handle(method, path, query, headers, body, MASTER)
        assert status < 300, answer
        return answer

    def add_node(
        self, name: str, *, ready: bool = True, labels: dict[str, str] | None = None, provider_id: str | None = None
    ) -> Any:
        """A Node as its kubelet registers it, with a fresh lease."""
        spec = {"providerID": provider_id} if provider_id else {}
        node = {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": self._node_status(ready)}
        self.request("POST", "/api/v1/nodes", node)
        self.heartbeat(name)
        return self.request("GET", f"/api/v1/nodes/{name}")

    def set_ready(self, name: str, *, ready: bool) -> None:
        """What the node's kubelet says of itself from now on."""
        self.request("PATCH", f"/api/v1/nodes/{name}/status", {"status": self._node_status(ready)})

    def heartbeat(self, name: str) -> None:
        """Renews the node's lease."""
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": self._now().isoformat()}
        if self.storage.get("leases.coordination.k8s.io", "kube-node-lease", name):
            self.request("PATCH", f"{leases}/{name}", {"spec": spec})
        else:
            self.request("POST", leases, {"metadata": {"name": name}, "spec": spec})

    def _node_status(self, ready: bool) -> dict[str, Any]:
        conditions = node_conditions(network_ready=ready, previous=[], now=self._now())
        info = node_info(self.model.release, boot_id="boot-1", machine_id="machine-1")
        return node_status([{"type": "InternalIP", "address": "127.0.0.1"}], info, conditions)


@contextlib.asynccontextmanager
async def serve_kubernetes(
    *,
    storage: Storage | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    release: str = "v1.36.3",
    service_cidr: str = "10.96.0.0/12",
    cluster_cidr: str = "10.244.0.0/16",
    control_every: float | None = 0.1,
) -> AsyncIterator[KubernetesEndpoint]:
    """Serves an emulated cluster until the block ends.

    The controllers run every `control_every` seconds; with None the test steps them itself
    (`endpoint.controllers.step()`). `endpoint.etcd_ready = False` makes the API server one without a quorum.
    """
    model = KubernetesModel(storage or Storage("testing"), now, release=release, service_cidr=service_cidr)
    endpoint = KubernetesEndpoint(model, now, cluster_cidr)
    issued = endpoint.authority.issue("kube-apiserver", names=("127.0.0.1", "localhost", "kubernetes"))
    context = server_context(issued.certificate_pem, issued.key_pem, endpoint.ca_pem, required=False)
    server = ApiServer(model, lambda: endpoint.etcd_ready, lambda: now() + endpoint.clock_ahead)
    await server.start("127.0.0.1", 0, context)
    endpoint.url = f"https://127.0.0.1:{server.port}"
    task = asyncio.create_task(_control(endpoint, control_every)) if control_every else None
    try:
        yield endpoint
    finally:
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await server.stop()


async def _control(endpoint: KubernetesEndpoint, every: float) -> None:
    while True:
        if endpoint.etcd_ready:
            endpoint.controllers.step()
        await asyncio.sleep(every)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
