"""What a certificate of Slipway's is: authorities, profiles, and signing a public key strictly by its profile.

ECDSA P-256 throughout. Every certificate passes strict X.509 verification (RFC 5280: subject and authority key
identifiers, critical key usage), which Python 3.13 asks for by default. Private keys of leaf certificates are made
where they are used; the functions here only ever see their public part.
"""

import hashlib
import ipaddress
import warnings
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slipway_contracts.values import Value

BACKDATED = timedelta(hours=1)
"""A machine's clock may be this far behind before its certificates seem to come from the future."""

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=365)
_CURVES = (ec.SECP256R1, ec.SECP384R1)


class AuthorityName(StrEnum):
    """Which authority signs: three for each cluster, one for the region's agents."""

    KUBERNETES = "kubernetes"
    ETCD = "etcd"
    FRONT_PROXY = "front-proxy"
    AGENT = "agent"


class CannotSign(ValueError):
    """The request is not one that is signed here; the message says what to change."""


class CertificateProfile(Value):
    """What a certificate says of its holder, whatever the request says."""

    authority: AuthorityName
    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    server: bool = False
    client: bool = False
    lifetime: timedelta = LEAF_LIFETIME


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its key."""

    certificate_pem: str
    key_pem: str = field(repr=False)


@dataclass(frozen=True)
class KeyPair:
    """A private key and its public part, PEM."""

    private_pem: str = field(repr=False)
    public_pem: str


@dataclass(frozen=True)
class Identity:
    """A client certificate with its key; for use in memory only."""

    certificate_pem: str
    key_pem: str = field(repr=False)
    expires_at: datetime


def make_authority(common_name: str, now: datetime) -> Authority:
    """A new self-signed authority that may sign leaf certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _subject(common_name, ())
    builder = (
        _builder(name, name, key.public_key(), now - BACKDATED, now + AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return Authority(_certificate_pem(builder.sign(key, hashes.SHA256())), _key_pem(key))


def make_key_pair() -> KeyPair:
    """A new key pair, such as service account tokens are signed with."""
    key = ec.generate_private_key(ec.SECP256R1())
    return KeyPair(_key_pem(key), _public_pem(key.public_key()))


def make_request(common_name: str) -> tuple[str, str]:
    """A new key and a request for it: (key PEM, request PEM)."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(_subject(common_name, ())).sign(key, hashes.SHA256())
    return _key_pem(key), request.public_bytes(serialization.Encoding.PEM).decode()


def make_identity(authority: Authority, profile: CertificateProfile, now: datetime) -> Identity:
    """A client certificate with a key made here, for the service's own use in memory."""
    key_pem, request = make_request(profile.common_name)
    certificate = sign_request(authority, request, profile, now)
    return Identity(certificate, key_pem, read_certificate(certificate).not_valid_after_utc)


def sign_request(authority: Authority, csr_pem: str, profile: CertificateProfile, now: datetime) -> str:
    """A certificate (PEM) for the request's public key that says exactly what the profile says.

    The request's own subject and extensions are ignored. Raises CannotSign.
    """
    return sign_public_key(authority, read_request(csr_pem), profile, now)


def sign_public_key(
    authority: Authority, public_key: ec.EllipticCurvePublicKey, profile: CertificateProfile, now: datetime
) -> str:
    """As sign_request, for a public key whose possession was proven before."""
    issuer = read_certificate(authority.certificate_pem)
    issuer_key = _load_key(authority.key_pem)
    expires_at = min(now + profile.lifetime, issuer.not_valid_after_utc)
    subject = _subject(profile.common_name, profile.organizations)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * profile.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * profile.client
    names: list[x509.GeneralName] = [_dns_name(name) for name in profile.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in profile.addresses]
    builder = (
        _builder(subject, issuer.subject, public_key, now - BACKDATED, expires_at)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return _certificate_pem(builder.sign(issuer_key, hashes.SHA256()))


def read_request(csr_pem: str) -> ec.EllipticCurvePublicKey:
    """The public key of a PKCS#10 request whose possession it proves; CannotSign says what is wrong with it."""
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
        raise CannotSign("this is no PKCS#10 certificate signing request in PEM") from error
    if not proven:
        raise CannotSign("the request's signature does not prove possession of its key")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise CannotSign("the request's key is of another kind; make an EC key on the curve P-256")
    return key


def read_certificate(certificate_pem: str) -> x509.Certificate:
    """The first certificate in the text; ValueError when there is none."""
    return x509.load_pem_x509_certificate(certificate_pem.encode())


def key_fingerprint(public_key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of a public key (SubjectPublicKeyInfo), hexadecimal."""
    der = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def certificate_fingerprint(certificate_pem: str) -> str:
    """SHA-256 of a certificate, hexadecimal."""
    return read_certificate(certificate_pem).fingerprint(hashes.SHA256()).hex()


def is_issued_by(certificate: x509.Certificate, authority_pem: str) -> bool:
    """Whether this authority itself signed the certificate: the issuer's name alone proves nothing."""
    try:
        certificate.verify_directly_issued_by(read_certificate(authority_pem))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _subject(common_name: str, organizations: tuple[str, ...]) -> x509.Name:
    if not common_name:
        raise CannotSign("a certificate needs a common name")
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    with warnings.catch_warnings():
        # system:node:<name of 63 letters> is longer than X.520 allows; nobody who reads it minds.
        warnings.simplefilter("ignore", UserWarning)
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False))
    return x509.Name(attributes)


def _dns_name(name: str) -> x509.DNSName:
    try:
        return x509.DNSName(name)
    except ValueError as error:
        raise CannotSign(f"{name!r} is no DNS name") from error


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _load_key(key_pem: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(key_pem.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is no EC key")  # noqa: TRY004  the file's content is wrong, not a type
    return key


def _certificate_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public_pem(key: ec.EllipticCurvePublicKey) -> str:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
