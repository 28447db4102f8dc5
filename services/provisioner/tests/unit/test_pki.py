"""Certificates say what their profile says, and pass strict verification."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from slipway_provisioner.domain.pki import (
    AUTHORITY_LIFETIME,
    BACKDATED,
    AuthorityName,
    CannotSign,
    CertificateProfile,
    is_issued_by,
    make_authority,
    make_identity,
    make_request,
    read_certificate,
    read_request,
    sign_request,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AUTHORITY = make_authority("kubernetes test", NOW)
SERVER = CertificateProfile(
    authority=AuthorityName.KUBERNETES,
    common_name="kube-apiserver",
    dns_names=("kubernetes",),
    addresses=("10.0.0.5", "fd00::5"),
    server=True,
)
CLIENT = CertificateProfile(
    authority=AuthorityName.KUBERNETES,
    common_name="system:node:a",
    organizations=("system:nodes",),
    client=True,
)


def signed(profile: CertificateProfile) -> x509.Certificate:
    return read_certificate(sign_request(AUTHORITY, make_request("ignored")[1], profile, NOW))


def test_a_server_certificate_passes_strict_verification() -> None:
    store = Store([read_certificate(AUTHORITY.certificate_pem)])
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("kubernetes"))
    assert len(verifier.verify(signed(SERVER), [])) == 2


def test_a_client_certificate_has_its_subject_and_usage_and_nothing_else() -> None:
    certificate = signed(CLIENT)
    assert certificate.subject.rfc4514_string() == "CN=system:node:a,O=system:nodes"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).critical
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_a_server_certificate_names_all_addresses() -> None:
    names = signed(SERVER).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(a) for a in SERVER.addresses]
    assert names.get_values_for_type(x509.DNSName) == ["kubernetes"]


def test_certificates_are_backdated_and_never_outlive_their_authority() -> None:
    usual = signed(SERVER)
    assert usual.not_valid_before_utc == NOW - BACKDATED
    assert usual.not_valid_after_utc == NOW + SERVER.lifetime
    long = signed(SERVER.model_copy(update={"lifetime": AUTHORITY_LIFETIME * 2}))
    assert long.not_valid_after_utc == NOW + AUTHORITY_LIFETIME


def test_the_subject_of_a_request_is_ignored() -> None:
    certificate = sign_request(AUTHORITY, make_request("system:masters")[1], CLIENT, NOW)
    assert "masters" not in read_certificate(certificate).subject.rfc4514_string()


@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
def test_names_longer_than_x520_allows_are_signed_for_kubernetes_has_them() -> None:
    name = "system:node:" + "n" * 63
    certificate = signed(CLIENT.model_copy(update={"common_name": name}))
    assert name in certificate.subject.rfc4514_string()


def _request_by(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _with_foreign_signature() -> str:
    """The public key of one request under the signature of another."""
    theirs = x509.load_pem_x509_csr(make_request("a")[1].encode())
    mine = x509.load_pem_x509_csr(make_request("a")[1].encode())
    der = theirs.public_bytes(serialization.Encoding.DER)
    own = mine.tbs_certrequest_bytes
    forged = der.replace(theirs.tbs_certrequest_bytes, own)
    return x509.load_der_x509_csr(forged).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    ("request_pem", "says"),
    [
        pytest.param("", "no PKCS#10", id="empty"),
        pytest.param(AUTHORITY.certificate_pem, "no PKCS#10", id="a certificate instead"),
        pytest.param(_request_by(rsa.generate_private_key(65537, 2048)), "P-256", id="an RSA key"),
        pytest.param(_request_by(ec.generate_private_key(ec.SECP256K1())), "P-256", id="a foreign curve"),
        pytest.param(_with_foreign_signature(), "possession", id="a key that the sender does not have"),
    ],
)
def test_an_unusable_request_says_what_is_wrong(request_pem: str, says: str) -> None:
    with pytest.raises(CannotSign, match=says):
        read_request(request_pem)


def test_an_issuers_name_alone_proves_nothing() -> None:
    impostor = make_authority("kubernetes test", NOW)
    certificate = signed(CLIENT)
    assert is_issued_by(certificate, AUTHORITY.certificate_pem)
    assert not is_issued_by(certificate, impostor.certificate_pem)


def test_an_identity_carries_its_own_end() -> None:
    identity = make_identity(AUTHORITY, CLIENT.model_copy(update={"lifetime": timedelta(minutes=5)}), NOW)
    assert identity.expires_at == NOW + timedelta(minutes=5)
    assert "PRIVATE KEY" not in repr(identity)
