"""Addons as values: the objects they consist of, and how far their workloads are."""

import hashlib
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from slipway_chassis.regions import Machine
from slipway_contracts.api import ClusterSpec

Manifest = dict[str, Any]
"""A Kubernetes object as it is applied: only the fields that Slipway owns."""

MANAGED_BY = {"app.kubernetes.io/managed-by": "slipway"}
ADDON_LABEL = "slipway.dev/addon"
"""Beside MANAGED_BY on every object of an addon; only what has both is ever deleted."""

WORKLOADS = ("DaemonSet", "Deployment")

_DIGEST_LENGTH = 10


@dataclass(frozen=True, order=True)
class ObjectReference:
    """One object in a cluster, by name."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "ObjectReference":
        """The object that a manifest describes."""
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"])

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True)
class ManagedObject:
    """An object with Slipway's labels, as it lies in a cluster."""

    reference: ObjectReference
    addon: str
    uid: str
    version: str
    """Its resourceVersion: moves with each change, and not when nothing changed."""


@dataclass(frozen=True)
class WorkloadStatus:
    """How many pods of a DaemonSet or Deployment there should be, and how many work with its newest template."""

    reference: ObjectReference
    wanted: int
    available: int
    observed: bool
    """Whether its controller has seen the newest definition; without that the numbers are old."""

    @property
    def shortfall(self) -> str | None:
        """A sentence on what is missing, if anything is."""
        if not self.observed:
            return f"{self.reference}: its controller has not acted on it yet"
        if self.available < self.wanted:
            return f"{self.reference}: {self.available} of {self.wanted} pods are available"
        return None


@dataclass(frozen=True)
class Endpoint:
    """Where the cluster's API is reached."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Endpoint":
        """From https://host:port; ValueError when it is something else."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"{url!r} is no https URL")
        return cls(parts.hostname, parts.port or 443)

    @property
    def url(self) -> str:
        """https://host:port; IPv6 addresses in brackets."""
        return f"https://[{self.host}]:{self.port}" if ":" in self.host else f"https://{self.host}:{self.port}"


@dataclass(frozen=True)
class Inputs:
    """All that definitions depend on; the same inputs give the same objects."""

    spec: ClusterSpec
    machine: Machine
    images: Mapping[str, str]
    """Of the cluster's release, by the keys of releases.yaml."""
    endpoint: Endpoint

    def service_address(self, index: int) -> str:
        """The index-th address of the Services: 10 by convention is the cluster DNS."""
        return str(ipaddress.ip_network(self.spec.service_cidr)[index])


@dataclass(frozen=True)
class Definition:
    """How an addon is made. Its images are keys of releases.yaml; the first one gives the version's name."""

    name: str
    images: tuple[str, ...]
    render: Callable[[Inputs], list[Manifest]]

    def base_version(self, spec: ClusterSpec, images: Mapping[str, str]) -> str:
        """What the version starts with: the image's tag, or the release where there is no image."""
        return images[self.images[0]].rpartition(":")[2] if self.images else spec.release


@dataclass(frozen=True)
class Addon:
    """One addon as it should be in one cluster."""

    name: str
    version: str
    manifests: tuple[Manifest, ...]

    @property
    def references(self) -> frozenset[ObjectReference]:
        """The objects it consists of."""
        return frozenset(ObjectReference.of(manifest) for manifest in self.manifests)

    @property
    def workloads(self) -> tuple[ObjectReference, ...]:
        """Those of them that run pods."""
        return tuple(ObjectReference.of(each) for each in self.manifests if each["kind"] in WORKLOADS)


def digest_of(value: Any) -> str:
    """A short digest of a JSON value: equal values have equal ones."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
