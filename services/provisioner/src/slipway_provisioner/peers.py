"""Who is at the other end of a mutual TLS connection: one of our services, a node's agent, or nobody known."""

from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway_provisioner.domain.pki import is_issued_by, key_fingerprint


class PeerKind(StrEnum):
    """By which authority the peer's certificate was signed."""

    SERVICE = "service"
    AGENT = "agent"


@dataclass(frozen=True)
class PeerIdentity:
    """A peer whose certificate was verified in the handshake."""

    kind: PeerKind
    name: str
    """The common name: a service's name, or an agent's node id."""
    key_fingerprint: str
    organization: str | None = None
    """An agent's cluster id."""


@dataclass(frozen=True)
class PeerAuthorities:
    """The two authorities whose certificates are accepted. What one signs never passes for the other's."""

    services_pem: str
    agents_pem: str

    @property
    def bundle(self) -> str:
        """Both, for the handshake."""
        return self.services_pem.rstrip("\n") + "\n" + self.agents_pem

    def identify(self, certificate: x509.Certificate) -> PeerIdentity | None:
        """The peer with this certificate; None when neither authority itself signed it."""
        kind = self._kind(certificate)
        key = certificate.public_key()
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if kind is None or not isinstance(key, ec.EllipticCurvePublicKey) or len(names) != 1:
            return None
        organizations = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        organization = str(organizations[0].value) if organizations else None
        return PeerIdentity(kind, str(names[0].value), key_fingerprint(key), organization)

    def _kind(self, certificate: x509.Certificate) -> PeerKind | None:
        if is_issued_by(certificate, self.services_pem):
            return PeerKind.SERVICE
        return PeerKind.AGENT if is_issued_by(certificate, self.agents_pem) else None
