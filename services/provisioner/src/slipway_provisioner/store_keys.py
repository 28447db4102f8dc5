"""The clusters' keys at rest: public parts in clear, private parts sealed under the region's master key."""

from datetime import datetime

from sqlalchemy import LargeBinary, Text, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from slipway_chassis.database import UtcDateTime
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.domain.cluster_keys import ClusterKeys, make_cluster_keys
from slipway_provisioner.domain.pki import Authority, AuthorityName, KeyPair
from slipway_provisioner.store import Row

SERVICE_ACCOUNTS = "service-accounts"
SECRETS_ENCRYPTION = "secrets-encryption"


class ClusterKeyRow(Row, table=True):
    """One key of one cluster."""

    __tablename__ = "cluster_keys"

    cluster_id: str = Field(primary_key=True, max_length=64)
    name: str = Field(primary_key=True, max_length=40)
    public_pem: str = Field(sa_type=Text)
    """The authority's certificate or the public key; empty for a symmetric key."""
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


async def ensure_cluster_keys(session: AsyncSession, master: MasterKey, cluster_id: str, now: datetime) -> ClusterKeys:
    """The cluster's keys; made on the first call, in the caller's transaction."""
    known = await read_cluster_keys(session, master, cluster_id)
    if known is not None:
        return known
    keys = make_cluster_keys(cluster_id, now)
    for name, (public_pem, secret) in _parts(keys).items():
        sealed = master.seal(secret.encode(), _place(cluster_id, name))
        session.add(
            ClusterKeyRow(cluster_id=cluster_id, name=name, public_pem=public_pem, sealed=sealed, created_at=now)
        )
    await session.flush()
    return keys


async def read_cluster_keys(session: AsyncSession, master: MasterKey, cluster_id: str) -> ClusterKeys | None:
    """The cluster's keys, if it has any. Raises CannotOpen under another master key."""
    query = select(ClusterKeyRow).where(col(ClusterKeyRow.cluster_id) == cluster_id)
    rows = {row.name: row for row in (await session.execute(query)).scalars()}
    if not rows:
        return None

    def secret(name: str) -> str:
        return master.open(rows[name].sealed, _place(cluster_id, name)).decode()

    def authority(name: AuthorityName) -> Authority:
        return Authority(rows[name].public_pem, secret(name))

    return ClusterKeys(
        kubernetes=authority(AuthorityName.KUBERNETES),
        etcd=authority(AuthorityName.ETCD),
        front_proxy=authority(AuthorityName.FRONT_PROXY),
        service_accounts=KeyPair(secret(SERVICE_ACCOUNTS), rows[SERVICE_ACCOUNTS].public_pem),
        encryption_key=secret(SECRETS_ENCRYPTION),
    )


async def forget_cluster_keys(session: AsyncSession, cluster_id: str) -> None:
    """The cluster is gone; so are its keys."""
    await session.execute(delete(ClusterKeyRow).where(col(ClusterKeyRow.cluster_id) == cluster_id))


def _parts(keys: ClusterKeys) -> dict[str, tuple[str, str]]:
    parts = {str(name): (each.certificate_pem, each.key_pem) for name, each in keys.authorities.items()}
    parts[SERVICE_ACCOUNTS] = (keys.service_accounts.public_pem, keys.service_accounts.private_pem)
    parts[SECRETS_ENCRYPTION] = ("", keys.encryption_key)
    return parts


def _place(cluster_id: str, name: str) -> str:
    return f"cluster-key/{cluster_id}/{name}"
