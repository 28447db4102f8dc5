"""The signing call from its callers' side: credentials to clusters, kept in memory and renewed at half of their life.

Contract: slipway_contracts.signing. The key of a credential is made here, never leaves memory and is never stored.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import Clock
from slipway_chassis.errors import RetryLater
from slipway_chassis.settings import ServiceSettings
from slipway_contracts.signing import CredentialPersona, SignedCredential, SigningRequest
from slipway_contracts.values import Mover

SOON = timedelta(seconds=5)
LATER = timedelta(seconds=30)

Sign = Callable[[str, str, timedelta], Awaitable[SignedCredential]]
"""`sign(cluster_id, csr_pem, lifetime)`: see SigningClient.sign."""


@dataclass(frozen=True)
class ClusterCredential:
    """All that a client needs to reach one cluster's API."""

    cluster_id: str
    endpoint: str
    ca_pem: str
    certificate_pem: str
    key_pem: str = field(repr=False)
    renew_at: datetime


class SigningClient:
    """The region's provisioner, asked to sign for one persona."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        persona: CredentialPersona,
        timeout: timedelta,
        calls: ProviderCalls | None = None,
    ) -> None:
        self._persona = persona
        self._calls = calls or ProviderCalls()
        self._client = httpx.AsyncClient(
            base_url=url, verify=context, timeout=timeout.total_seconds(), trust_env=False, follow_redirects=False
        )

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        """A certificate for the key of this request, cut to the persona's limit.

        Raises RetryLater when the provisioner does not answer, refuses, or the cluster's keys or endpoint do not exist
        yet; its reason says which.
        """
        wanted = SigningRequest(persona=self._persona, csr_pem=csr_pem, lifetime=lifetime.total_seconds())
        try:
            with self._calls.made("signing", "POST"):
                answer = await self._client.post(
                    f"/v1/clusters/{cluster_id}/credentials", json=wanted.model_dump(mode="json", exclude_none=True)
                )
                if answer.status_code != httpx.codes.OK:
                    raise _refused(answer)
        except httpx.HTTPError as error:
            message = f"The provisioner's signing call failed: {type(error).__name__}: {error}"
            raise RetryLater(SOON, "SigningUnreachable", message[:500]) from error
        try:
            return SignedCredential.model_validate_json(answer.content)
        except ValidationError as error:
            message = "The provisioner's answer is no credential: are the releases the same?"
            raise RetryLater(LATER, "SigningAnswerInvalid", message, whose_move=Mover.OPERATOR) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class KeptCredentials:
    """One credential for each cluster, made when it is first needed."""

    def __init__(self, sign: Sign, clock: Clock, lifetime: timedelta) -> None:
        self._sign = sign
        self._clock = clock
        self._lifetime = lifetime
        self._kept: dict[str, ClusterCredential] = {}

    async def of(self, cluster_id: str) -> ClusterCredential:
        """A credential with at least half of its life before it. Raises what the signing call raises."""
        kept = self._kept.get(cluster_id)
        if kept is None or self._clock.now() >= kept.renew_at:
            kept = await self._make(cluster_id)
            self._kept[cluster_id] = kept
        return kept

    def forget(self, cluster_id: str) -> None:
        """Drop the credential: the cluster is gone, or refuses it."""
        self._kept.pop(cluster_id, None)

    async def _make(self, cluster_id: str) -> ClusterCredential:
        key = ec.generate_private_key(ec.SECP256R1())
        signed = await self._sign(cluster_id, _request(key), self._lifetime)
        now = self._clock.now()
        return ClusterCredential(
            cluster_id=cluster_id,
            endpoint=signed.endpoint,
            ca_pem=signed.ca_pem,
            certificate_pem=signed.certificate_pem,
            key_pem=_pem(key),
            renew_at=now + (signed.expires_at - now) / 2,
        )


def service_context(settings: ServiceSettings) -> ssl.SSLContext:
    """Mutual TLS with the service's own certificate; ValueError names the setting that is missing."""
    for name in ("tls_cert_file", "tls_key_file", "tls_ca_file"):
        path = getattr(settings, name)
        if path is None or not path.is_file():
            prefix = settings.model_config.get("env_prefix", "")
            raise ValueError(f"{name}: set {prefix}{name.upper()} to a readable PEM file (it is {path})")
    context = ssl.create_default_context(cafile=str(settings.tls_ca_file))
    context.load_cert_chain(str(settings.tls_cert_file), str(settings.tls_key_file))
    return context


def _refused(answer: httpx.Response) -> RetryLater:
    said = f"{answer.status_code} {_detail(answer)}".strip()[:500]
    match answer.status_code:
        case httpx.codes.CONFLICT:
            return RetryLater(SOON, "CredentialNotYet", f"The cluster's keys or endpoint do not exist yet: {said}")
        case httpx.codes.NOT_FOUND:
            return RetryLater(LATER, "CredentialUnknownCluster", f"The provisioner does not know the cluster: {said}")
        case httpx.codes.FORBIDDEN | httpx.codes.UNAUTHORIZED | httpx.codes.UNPROCESSABLE_ENTITY:
            message = f"The provisioner refused a credential: {said}"
            return RetryLater(LATER, "CredentialRefused", message, whose_move=Mover.OPERATOR)
        case _:
            return RetryLater(SOON, "SigningFailed", f"The provisioner's signing call failed: {said}")


def _detail(answer: httpx.Response) -> str:
    try:
        problem = answer.json()
    except ValueError:
        return ""
    return str(problem.get("detail") or problem.get("title") or "") if isinstance(problem, dict) else ""


def _request(key: ec.EllipticCurvePrivateKey) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "slipway")])  # the signer ignores it
    built = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM).decode()


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
