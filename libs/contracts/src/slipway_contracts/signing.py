"""The one synchronous call between services: the region's provisioner signs a public key for a persona.

    POST https://<provisioner>/v1/clusters/<id>/credentials   SigningRequest -> SignedCredential

Mutual TLS; the caller's certificate names the service (CN), which decides the personas it may ask for:
api: user (at most 12 h); monitor: monitor, addon_manager: addon_manager (at most 24 h).
Errors are problem details (RFC 9457): 403 persona not allowed to this caller, 404 unknown cluster, 409 the keys or
the endpoint do not exist yet (try again), 422 a key or name that cannot be signed.
"""

from enum import StrEnum

from pydantic import Field

from slipway_contracts.values import Instant, Value


class CredentialPersona(StrEnum):
    """For whom a credential is."""

    USER = "user"
    MONITOR = "monitor"
    ADDON_MANAGER = "addon_manager"


class SigningRequest(Value):
    """A public key, and for whom. No private key moves."""

    persona: CredentialPersona
    csr_pem: str = Field(description="a PKCS#10 request; proves possession of the key, its subject is ignored")
    user_name: str | None = Field(default=None, description="persona user: the name that RBAC binds")
    lifetime: float = Field(description="seconds; cut to the persona's limit", gt=0)


class SignedCredential(Value):
    """What the caller needs to reach the cluster, beside its own key."""

    certificate_pem: str
    ca_pem: str
    endpoint: str
    expires_at: Instant
