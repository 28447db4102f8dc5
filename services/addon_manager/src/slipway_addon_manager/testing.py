"""Stateful fakes of clusters and of the signing call, and builders; they pass the same suite as the real adapters."""

import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

from slipway_addon_manager.domain.model import (
    ADDON_LABEL,
    MANAGED_BY,
    Endpoint,
    Inputs,
    ManagedObject,
    Manifest,
    ObjectReference,
    WorkloadStatus,
)
from slipway_addon_manager.ports import ClusterApi
from slipway_addon_manager.releases import RegionImages
from slipway_chassis.clock import Clock
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.regions import Machine
from slipway_chassis.releases import REQUIRED_PROGRAMS, Releases
from slipway_chassis.signing import ClusterCredential
from slipway_contracts.signing import SignedCredential
from slipway_contracts.testing import a_cluster_spec

SOON = timedelta(seconds=10)
ENDPOINT = "https://10.0.0.4:6443"
IMAGES = {
    "pause": "registry.k8s.io/pause:3.10.2",
    "kube_apiserver": "registry.k8s.io/kube-apiserver:v1.36.3",
    "kube_proxy": "registry.k8s.io/kube-proxy:v1.36.3",
    "flannel": "ghcr.io/flannel-io/flannel:v0.28.10",
    "flannel_cni": "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.0-flannel1",
    "coredns": "registry.k8s.io/coredns/coredns:v1.14.2",
}
NAMESPACES = frozenset({"default", "kube-system", "kube-public", "kube-node-lease"})
_KINDS = frozenset(
    {"ServiceAccount", "ConfigMap", "Service", "DaemonSet", "Deployment", "ClusterRole", "ClusterRoleBinding"}
)


def some_releases(*names: str) -> RegionImages:
    """A table of releases with these names, v1.36.3 if none is given, all with the same images."""
    programs = {name: {"file": name, "sha256": "0" * 64} for name in REQUIRED_PROGRAMS}
    release = {"artifacts": programs, "images": IMAGES, "etcd_version": "3.6.16"}
    return RegionImages(Releases.model_validate({"releases": dict.fromkeys(names or ("v1.36.3",), release)}))


def some_inputs(machine: Machine | None = None, endpoint: str = ENDPOINT, **spec: Any) -> Inputs:
    """What definitions depend on."""
    return Inputs(a_cluster_spec(**spec), machine or Machine(), IMAGES, Endpoint.of(endpoint))


class FakeSigning:
    """The provisioner's signing call: knows some clusters, counts, and can be away."""

    def __init__(self, clock: Clock, endpoint: str = ENDPOINT) -> None:
        self._clock = clock
        self._endpoint = endpoint
        self.signed = 0
        self.away: RetryLater | None = None

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        """See slipway_chassis.signing.SigningClient.sign."""
        if self.away is not None:
            raise self.away
        assert "CERTIFICATE REQUEST" in csr_pem
        self.signed += 1
        return SignedCredential(
            certificate_pem=f"certificate {self.signed} for {cluster_id}",
            ca_pem="ca",
            endpoint=self._endpoint,
            expires_at=self._clock.now() + lifetime,
        )


class FakeClusters:
    """Clusters by id, made when they are first connected to."""

    def __init__(self) -> None:
        self._clusters: dict[str, FakeCluster] = {}
        self.connected = 0

    def of(self, cluster_id: str) -> "FakeCluster":
        """The cluster."""
        return self._clusters.setdefault(cluster_id, FakeCluster())

    def connect(self, credential: ClusterCredential) -> AbstractAsyncContextManager[ClusterApi]:
        """See the port."""
        return self._connected(credential)

    @asynccontextmanager
    async def _connected(self, credential: ClusterCredential) -> AsyncIterator[ClusterApi]:
        self.connected += 1
        cluster = self.of(credential.cluster_id)
        cluster.certificates.append(credential.certificate_pem)
        yield cluster


class FakeCluster:
    """One cluster's API. Its DaemonSets and Deployments have all their pods unless told otherwise."""

    def __init__(self) -> None:
        self.objects: dict[ObjectReference, Manifest] = {}
        self.certificates: list[str] = []
        self.refuses: RetryLater | None = None
        """What every call is answered with."""
        self.refuses_objects: dict[str, str] = {}
        """Names of objects that are refused, with what the API says."""
        self.missing_pods: dict[str, int] = {}
        """By name of the workload."""
        self.writes = 0
        self._revision = 0
        self._applied: dict[ObjectReference, Manifest] = {}

    async def apply(self, manifest: Manifest) -> str:
        """See the port."""
        reference = ObjectReference.of(manifest)
        self._answer()
        self._require_known(reference)
        before = self.objects.get(reference)
        if before is not None and before.get("roleRef") != manifest.get("roleRef"):
            raise _manifest_refused(reference, "roleRef: Invalid value: cannot change roleRef")
        if reference.name in self.refuses_objects:
            raise _manifest_refused(reference, self.refuses_objects[reference.name])
        if reference.namespace is not None and reference.namespace not in NAMESPACES:
            message = f'Cannot apply {reference}: 404 namespaces "{reference.namespace}" not found'
            raise RetryLater(SOON, "NamespaceMissing", message)
        after = _merged(before or {"metadata": {"uid": self._next("uid")}}, self._applied.get(reference), manifest)
        self._applied[reference] = copy.deepcopy(manifest)
        if after != before:
            after["metadata"]["resourceVersion"] = self._next("")
            self.objects[reference] = after
            self.writes += 1
        return str(self.objects[reference]["metadata"]["resourceVersion"])

    async def managed(self) -> Sequence[ManagedObject]:
        """See the port."""
        self._answer()
        found = []
        for reference, value in self.objects.items():
            metadata = value["metadata"]
            labels = metadata.get("labels") or {}
            if ADDON_LABEL in labels and MANAGED_BY.items() <= labels.items():
                version = metadata["resourceVersion"]
                found.append(ManagedObject(reference, labels[ADDON_LABEL], metadata["uid"], version))
        return found

    async def delete(self, found: ManagedObject) -> None:
        """See the port."""
        self._answer()
        known = self.objects.get(found.reference)
        if known is not None and known["metadata"]["uid"] == found.uid:
            self.remove(found.reference)

    async def workload(self, reference: ObjectReference) -> WorkloadStatus | None:
        """See the port."""
        self._answer()
        self._require_known(reference)
        value = self.objects.get(reference)
        if value is None:
            return None
        wanted = value["spec"].get("replicas", 3)
        return WorkloadStatus(reference, wanted, wanted - self.missing_pods.get(reference.name, 0), observed=True)

    def change(self, reference: ObjectReference, **fields: Any) -> None:
        """What somebody else does to an object: sets top-level fields, or makes it."""
        named = {"name": reference.name, "namespace": reference.namespace, "uid": self._next("uid")}
        fresh: Manifest = {"apiVersion": reference.api_version, "kind": reference.kind, "metadata": named}
        before = self.objects.get(reference) or fresh
        after = copy.deepcopy(before) | fields
        after["metadata"] = before["metadata"] | (fields.get("metadata") or {}) | {"resourceVersion": self._next("")}
        self.objects[reference] = after

    def remove(self, reference: ObjectReference) -> None:
        """The object is gone."""
        self.objects.pop(reference)
        self._applied.pop(reference, None)

    def named(self, kind: str) -> set[str]:
        """The names of all objects of a kind."""
        return {reference.name for reference in self.objects if reference.kind == kind}

    def _answer(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    def _require_known(self, reference: ObjectReference) -> None:
        if reference.kind not in _KINDS:
            message = f"{reference.api_version} {reference.kind} is no kind that addons consist of"
            raise GiveUp("ManifestRefused", message)

    def _next(self, prefix: str) -> str:
        self._revision += 1
        return f"{prefix}{self._revision}"


def _manifest_refused(reference: ObjectReference, said: str) -> GiveUp:
    return GiveUp("ManifestRefused", f"Cannot apply {reference}: 422 {said}")


def _merged(live: Any, applied: Any, wanted: Any) -> Any:
    """Server-side apply, as far as manifests here need it: maps are merged field by field, lists are whole."""
    if not isinstance(live, dict) or not isinstance(wanted, dict):
        return copy.deepcopy(wanted)
    before = applied if isinstance(applied, dict) else {}
    kept = {key: copy.deepcopy(value) for key, value in live.items() if key in wanted or key not in before}
    return kept | {key: _merged(live.get(key), before.get(key), value) for key, value in wanted.items()}
