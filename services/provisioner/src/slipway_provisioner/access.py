"""The provisioner's own credentials to clusters: short-lived, in memory, and never more than the moment needs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway_chassis.errors import RetryLater
from slipway_provisioner.context import Context
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.cluster_keys import ClusterKeys
from slipway_provisioner.domain.plans.model import Endpoint
from slipway_provisioner.ports import ClusterAccess
from slipway_provisioner.signing import OWN_LIFETIME, bootstrap_access, own_access
from slipway_provisioner.store import ClusterRecord
from slipway_provisioner.store_keys import read_cluster_keys

_Make = Callable[[ClusterKeys, Endpoint, datetime], ClusterAccess]

RENEWED_AFTER = OWN_LIFETIME / 2
"""Certificates are made anew at half of their life."""


@dataclass(frozen=True)
class _Kept:
    access: ClusterAccess
    renew_at: datetime


class Accesses:
    """Makes and keeps accesses; nothing of them is ever stored."""

    def __init__(self, context: Context, master: MasterKey) -> None:
        self._context = context
        self._master = master
        self._kept: dict[str, _Kept] = {}

    async def to(self, cluster_id: str) -> ClusterAccess:
        """Access as the provisioner's own user; RetryLater while there is no endpoint or no keys.

        Where the endpoint is, is read each time: another replica may have made its floating IP again.
        """
        endpoint = await self._endpoint(cluster_id)
        kept = self._kept.get(cluster_id)
        if kept is None or kept.access.endpoint != endpoint.url or self._context.now() >= kept.renew_at:
            kept = _Kept(await self._make(cluster_id, endpoint, own_access), self._context.now() + RENEWED_AFTER)
            self._kept[cluster_id] = kept
        return kept.access

    async def as_master(self, cluster_id: str) -> ClusterAccess:
        """Access for five minutes as system:masters, only to write the services' own bindings."""
        return await self._make(cluster_id, await self._endpoint(cluster_id), bootstrap_access)

    def forget(self, cluster_id: str) -> None:
        """The cluster is gone."""
        self._kept.pop(cluster_id, None)

    async def _endpoint(self, cluster_id: str) -> Endpoint:
        async with self._context.database.reading() as session:
            cluster = await session.get(ClusterRecord, cluster_id)
        if cluster is None or cluster.outer_address is None:
            raise _no_endpoint()
        return Endpoint(cluster.outer_address, cluster.endpoint_port)

    async def _make(self, cluster_id: str, endpoint: Endpoint, make: _Make) -> ClusterAccess:
        async with self._context.database.reading() as session:
            keys = await read_cluster_keys(session, self._master, cluster_id)
        if keys is None:
            raise _no_endpoint()
        return make(keys, endpoint, self._context.now())


def _no_endpoint() -> RetryLater:
    return RetryLater(timedelta(seconds=5), "WaitingForEndpoint", "The cluster has no endpoint yet")
