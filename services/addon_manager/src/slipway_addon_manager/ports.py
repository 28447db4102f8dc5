"""What the addon manager needs from outside: a credential to a cluster, and the cluster's API."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from slipway_addon_manager.domain.model import ManagedObject, Manifest, ObjectReference, WorkloadStatus
from slipway_chassis.signing import ClusterCredential


class Credentials(Protocol):
    """Credentials to clusters for this service, in memory only."""

    async def of(self, cluster_id: str) -> ClusterCredential:
        """A credential with at least half of its life before it.

        Raises RetryLater when the provisioner does not answer or refuses, or while the cluster has no keys.
        """
        ...

    def forget(self, cluster_id: str) -> None:
        """Drop it: the cluster is gone, or does not accept it."""
        ...


class ClusterApi(Protocol):
    """One cluster's Kubernetes API.

    Every method raises RetryLater for what passes by itself:
        ClusterUnreachable   no connection, no answer in time, 429, 5xx, or an answer that is not understood
        CredentialExpired    401; the caller drops the credential
        PermissionMissing    403; the provisioner writes the services' bindings again
        ConflictingChange    409; somebody changed the object at the same moment
        NamespaceMissing     404 where an object is written
    and GiveUp ManifestRefused when the API refuses an object for what it is (400, 413, 415, 422): its message names
    the object and what the API said.
    """

    async def apply(self, manifest: Manifest) -> str:
        """The object has the fields of the manifest, whoever set them before; other fields are left alone.

        By server-side apply, forced: a field that an earlier manifest had and this one has not is removed. Returns
        the object's resourceVersion, which moves only when something changed.
        """
        ...

    async def managed(self) -> Sequence[ManagedObject]:
        """All objects with Slipway's labels of an addon, of the kinds that addons consist of."""
        ...

    async def delete(self, found: ManagedObject) -> None:
        """The object with this uid is gone, or on its way; not there is fine, and so is another one of its name."""
        ...

    async def workload(self, reference: ObjectReference) -> WorkloadStatus | None:
        """How far a DaemonSet or Deployment is; None when the API answered that there is none."""
        ...


class Clusters(Protocol):
    """Opens connections to clusters."""

    def connect(self, credential: ClusterCredential) -> AbstractAsyncContextManager[ClusterApi]:
        """A connection for one look at the cluster; it is made with the first call, and closed at the end."""
        ...
