"""What an emulated program can see of certificates without a handshake: whether one would be accepted."""

import functools
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def decide_refusal(certificate_pem: str, ca_pem: str, now: datetime, host: str | None = None) -> str | None:
    """Why a peer that trusts `ca_pem` refuses the certificate (as a server's of `host`), or None when it accepts."""
    certificate = load(certificate_pem)
    if certificate is None:
        return "there is no certificate"
    if not any(_issued(certificate, authority) for authority in load_all(ca_pem)):
        return "certificate signed by unknown authority"
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        return "certificate has expired or is not yet valid"
    if host is not None and host not in names_of(certificate):
        return f"certificate is valid for {', '.join(sorted(names_of(certificate)))}, not {host}"
    return None


def decide_pair_fault(certificate_pem: str, key_pem: str) -> str | None:
    """Why certificate and key cannot serve together, or None."""
    certificate = load(certificate_pem)
    public = public_key_of(key_pem)
    if certificate is None or public is None:
        return "failed to find any PEM data in certificate or key input"
    if _public_pem(certificate) != public:
        return "tls: private key does not match public key"
    return None


def names_of(certificate: x509.Certificate) -> set[str]:
    """DNS names and addresses of the certificate."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(value) for value in extension.get_values_for_type(x509.IPAddress)}
    return addresses | set(extension.get_values_for_type(x509.DNSName))


def common_name(certificate_pem: str) -> str:
    """The subject's common name; empty when there is none."""
    certificate = load(certificate_pem)
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate else []
    return str(found[0].value) if found else ""


@functools.lru_cache(maxsize=4096)
def load(pem: str) -> x509.Certificate | None:
    """The first certificate of the text, or None."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None


@functools.lru_cache(maxsize=1024)
def load_all(pem: str) -> tuple[x509.Certificate, ...]:
    """Every certificate of the text."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return ()


@functools.lru_cache(maxsize=4096)
def public_key_of(key_pem: str) -> str | None:
    """The public key of a private key as PEM, None when the text is no key."""
    try:
        key = serialization.load_pem_private_key(key_pem.encode(), None)
    except (ValueError, TypeError):
        return None
    return key.public_key().public_bytes(*_PUBLIC).decode()


def public_key_of_certificate(certificate: x509.Certificate) -> str:
    """As PEM, comparable with `public_key_of`."""
    return _public_pem(certificate)


def make_csr(key_pem: str, name: str) -> str:
    """A signing request for that common name. Raises ValueError or TypeError when it is no EC key."""
    from cryptography.hazmat.primitives import hashes

    key = serialization.load_pem_private_key(key_pem.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


_PUBLIC = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _public_pem(certificate: x509.Certificate) -> str:
    return certificate.public_key().public_bytes(*_PUBLIC).decode()


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
