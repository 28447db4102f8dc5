"""What the monitor needs from outside: the cloud's list of servers, the clusters' APIs, a credential for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from slipway_chassis.signing import ClusterCredential
from slipway_contracts.values import Reason
from slipway_monitor.domain.model import NodeView, ServerView


@dataclass(frozen=True)
class ServerPage:
    """What one round over the region's servers gave."""

    servers: Sequence[ServerView]
    unreached: Mapping[str, Reason]
    """Projects that could not be listed, and why; always empty where one list covers all."""


class ServerList(Protocol):
    """The region's servers, read only. Absence from a list says nothing (a list may be empty, partial or foreign).

    Both methods raise RetryLater with a code and a sentence when the cloud does not answer, answers late, with an
    error or with something that is no list; they never raise anything else for what the cloud does.
    """

    async def list(self, projects: Sequence[str], changed_since: datetime | None) -> ServerPage:
        """All servers of these projects; with `changed_since` those that changed, deleted ones included.

        The number of calls does not depend on the number of nodes but for paging.
        """
        ...

    async def get(self, project_id: str, server_id: str) -> ServerView | None:
        """One server by id; None only when the cloud answered 404 for it."""
        ...


@dataclass(frozen=True)
class Target:
    """How a cluster's API is reached."""

    cluster_id: str
    endpoint: str
    ca_pem: str


class ClusterApi(Protocol):
    """The clusters' Kubernetes APIs through their endpoints, read only.

    Raises RetryLater for whatever goes wrong (not reached, late, refused, no credential yet), with a sentence that a
    user can read; each call ends within a few seconds, so that a dead cluster stalls nobody.
    """

    async def renewals(self, target: Target) -> Mapping[str, datetime]:
        """By node name: when it last renewed its lease, by its own clock."""
        ...

    async def nodes(self, target: Target) -> Mapping[str, NodeView]:
        """All Node objects, narrowly, by name."""
        ...

    async def forget(self, cluster_id: str) -> None:
        """Drop what is kept for a cluster: connections and the credential."""
        ...


class Credentials(Protocol):
    """Read-only credentials to clusters, in memory only."""

    async def of(self, cluster_id: str) -> ClusterCredential:
        """A credential with at least half of its life before it; the same one until it is renewed.

        Raises RetryLater when the provisioner does not answer or the cluster's keys or endpoint do not exist yet.
        """
        ...

    def forget(self, cluster_id: str) -> None:
        """Drop it: the cluster is gone, or does not accept it."""
        ...
