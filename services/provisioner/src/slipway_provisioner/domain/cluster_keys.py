"""The keys of one cluster: three authorities, the service accounts' key and the key that encrypts Secrets."""

import base64
import os
from dataclasses import dataclass, field
from datetime import datetime

from slipway_provisioner.domain.pki import (
    Authority,
    AuthorityName,
    KeyPair,
    certificate_fingerprint,
    make_authority,
    make_key_pair,
)

ENCRYPTION_KEY_SIZE = 32
"""What the API server's secretbox provider asks for."""


@dataclass(frozen=True)
class ControllerSecrets:
    """The two cluster-wide secrets that controllers must have; no other node gets them."""

    service_accounts: KeyPair
    encryption_key: str = field(repr=False)
    """Base64."""


@dataclass(frozen=True)
class PlanKeys:
    """What plans are rendered from: the authorities' public certificates, and for controllers their secrets."""

    certificates: dict[AuthorityName, str]
    secrets: ControllerSecrets | None = None

    def fingerprint(self, name: AuthorityName) -> str:
        """Changes when the authority is another one."""
        return certificate_fingerprint(self.certificates[name])


@dataclass(frozen=True)
class ClusterKeys:
    """All keys of one cluster. They leave the provisioner's memory only sealed, or as PlanKeys."""

    kubernetes: Authority
    etcd: Authority
    front_proxy: Authority
    service_accounts: KeyPair
    encryption_key: str = field(repr=False)

    @property
    def authorities(self) -> dict[AuthorityName, Authority]:
        """The authorities by name."""
        return {
            AuthorityName.KUBERNETES: self.kubernetes,
            AuthorityName.ETCD: self.etcd,
            AuthorityName.FRONT_PROXY: self.front_proxy,
        }

    def for_plan(self, *, controller: bool) -> PlanKeys:
        """What a plan may contain."""
        certificates = {name: authority.certificate_pem for name, authority in self.authorities.items()}
        secrets = ControllerSecrets(self.service_accounts, self.encryption_key) if controller else None
        return PlanKeys(certificates, secrets)


def make_cluster_keys(cluster_id: str, now: datetime) -> ClusterKeys:
    """New keys for a new cluster."""
    return ClusterKeys(
        kubernetes=make_authority(f"kubernetes {cluster_id}", now),
        etcd=make_authority(f"etcd {cluster_id}", now),
        front_proxy=make_authority(f"front-proxy {cluster_id}", now),
        service_accounts=make_key_pair(),
        encryption_key=base64.b64encode(os.urandom(ENCRYPTION_KEY_SIZE)).decode(),
    )
