"""Credentials to a cluster: a key that is made here, what was signed for it, and how Kubernetes' clients ask for both.

The protocol is https://kubernetes.io/docs/reference/config-api/client-authentication.v1/.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from slipway_cli.errors import CommandFailed, Exit

API_VERSION = "client.authentication.k8s.io/v1"
KIND = "ExecCredential"
LONGEST = timedelta(hours=12)
"""The longest life of a credential, by the provisioner's limit for people."""
RENEW_BEFORE = timedelta(minutes=5)
"""A credential that ends within this time is renewed: clocks differ, and a command may take a while."""


@dataclass(frozen=True)
class Credential:
    """A client certificate with its key. The key is never shown."""

    certificate_pem: str
    key_pem: str = field(repr=False)
    expires_at: datetime


class Kept(Protocol):
    """Where a credential stays between two calls of the command."""

    def find(self) -> Credential | None:
        """The one that is kept, also when it has expired; None: there is none that could be used."""

    def keep(self, credential: Credential) -> None:
        """Keep this one instead. Does not fail: without it the next call asks again."""


def read_credential(certificate_pem: str, key_pem: str) -> Credential:
    """The two as a credential; ValueError when they are not what they should be, or do not belong together."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    if serialization.load_pem_private_key(key_pem.encode(), None).public_key() != certificate.public_key():
        raise ValueError("the certificate is for another key")
    return Credential(certificate_pem, key_pem, certificate.not_valid_after_utc)


def obtain(sign: Callable[[], Credential], kept: Kept, now: datetime) -> Credential:
    """The kept credential, or a fresh one where it ends soon; CommandFailed when none can be had.

    While nobody answers who could sign another, the kept one does until its end.
    """
    old = kept.find()
    if old is not None and old.expires_at - now > RENEW_BEFORE:
        return old
    try:
        fresh = sign()
    except CommandFailed as failure:
        if failure.code is Exit.UNREACHABLE and old is not None and old.expires_at > now:
            return old
        raise
    if fresh.expires_at <= now:
        raise CommandFailed(
            Exit.FAILED, f"The credential ended at {_rfc3339(fresh.expires_at)}, before it came: check the clock here."
        )
    kept.keep(fresh)
    return fresh


def to_document(credential: Credential) -> dict[str, Any]:
    """The answer of an exec plugin."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "status": {
            "expirationTimestamp": _rfc3339(credential.expires_at),
            "clientCertificateData": credential.certificate_pem,
            "clientKeyData": credential.key_pem,
        },
    }


def from_document(document: Any) -> Credential:
    """The reverse of `to_document`; ValueError for anything else."""
    try:
        status = document["status"]
        return read_credential(status["clientCertificateData"], status["clientKeyData"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("this is no credential") from error


def entered_cluster(information: str | None) -> dict[str, Any]:
    """Address and CA of the cluster that the caller is about to enter, from its KUBERNETES_EXEC_INFO.

    Empty where nobody says: the variable is not set when a person calls. CommandFailed when the caller speaks another
    version of the protocol, since it would not take our answer.
    """
    if not information:
        return {}
    try:
        asked = json.loads(information)
        version, kind, cluster = asked["apiVersion"], asked["kind"], asked.get("spec", {}).get("cluster") or {}
        entered = {name: cluster[name] for name in ("server", "certificate-authority-data") if name in cluster}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandFailed(Exit.USAGE, "KUBERNETES_EXEC_INFO is no ExecCredential in JSON.") from error
    if (version, kind) != (API_VERSION, KIND):
        raise CommandFailed(
            Exit.USAGE,
            f"The caller asks for {kind} of {version}, and this command answers {KIND} of {API_VERSION}: write the "
            "kubeconfig again with slipway cluster kubeconfig NAME --exec.",
        )
    return entered


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
