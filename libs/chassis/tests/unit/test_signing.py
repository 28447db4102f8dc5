"""The signing call over mutual TLS against a server of the standard library; credentials kept and renewed."""

import json
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from prometheus_client import CollectorRegistry

from slipway_chassis.calls import ProviderCalls
from slipway_chassis.clock import SteppingClock
from slipway_chassis.errors import RetryLater
from slipway_chassis.settings import ServiceSettings
from slipway_chassis.signing import KeptCredentials, SigningClient, service_context
from slipway_chassis.tls import make_service_pki
from slipway_contracts.signing import CredentialPersona, SignedCredential

SECOND = timedelta(seconds=1)


class Provisioner:
    """Answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.answer: tuple[int, Any] = (200, {})
        self.asked: list[tuple[str, str, dict[str, Any]]] = []


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    make_service_pki(tmp_path / "pki", ["127.0.0.1"])
    return tmp_path / "pki"


@pytest.fixture
def provisioner(pki: Path) -> Iterator[Provisioner]:
    told = Provisioner()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            subject = self.connection.getpeercert()["subject"]
            told.asked.append((self.path, dict(pair[0] for pair in subject)["commonName"], body))
            status, answer = told.answer
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Quiet."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "provisioner.pem", pki / "provisioner.key")
    context.verify_mode = ssl.CERT_REQUIRED
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told.url = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def settings(pki: Path, **more: Any) -> ServiceSettings:
    files = {
        "tls_cert_file": pki / "monitor.pem",
        "tls_key_file": pki / "monitor.key",
        "tls_ca_file": pki / "ca.pem",
    }
    return ServiceSettings(**(files | more))


def a_credential(clock: SteppingClock, lifetime: timedelta) -> dict[str, Any]:
    expires_at = (clock.now() + lifetime).isoformat()
    return {"certificate_pem": "cert", "ca_pem": "ca", "endpoint": "https://10.0.0.4:6443", "expires_at": expires_at}


async def test_the_call_names_the_persona_and_shows_the_services_certificate(
    pki: Path, provisioner: Provisioner
) -> None:
    clock = SteppingClock()
    provisioner.answer = (200, a_credential(clock, timedelta(hours=24)))
    client = SigningClient(provisioner.url, service_context(settings(pki)), CredentialPersona.MONITOR, 5 * SECOND)
    credential = await KeptCredentials(client.sign, clock, timedelta(hours=24)).of("c1")
    await client.close()
    assert (credential.endpoint, credential.ca_pem, credential.certificate_pem) == (
        "https://10.0.0.4:6443",
        "ca",
        "cert",
    )
    [(path, caller, body)] = provisioner.asked
    assert (path, caller) == ("/v1/clusters/c1/credentials", "monitor")
    assert (body["persona"], body["lifetime"]) == ("monitor", 86400.0)
    assert x509.load_pem_x509_csr(body["csr_pem"].encode()).is_signature_valid


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((409, {"detail": "no keys yet"}), "CredentialNotYet"),
        ((404, {"title": "UnknownCluster"}), "CredentialUnknownCluster"),
        ((403, {"detail": "not for you"}), "CredentialRefused"),
        ((401, {}), "CredentialRefused"),
        ((422, {"detail": "a key that cannot be signed"}), "CredentialRefused"),
        ((503, b"<html>"), "SigningFailed"),
        ((200, {"ca_pem": "ca"}), "SigningAnswerInvalid"),
        ((200, b"no JSON"), "SigningAnswerInvalid"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_what_is_no_credential_is_tried_again_with_a_reason(
    pki: Path, provisioner: Provisioner, answer: tuple[int, Any], code: str
) -> None:
    provisioner.answer = answer
    client = SigningClient(provisioner.url, service_context(settings(pki)), CredentialPersona.MONITOR, 5 * SECOND)
    with pytest.raises(RetryLater) as refused:
        await client.sign("c1", "csr", SECOND)
    await client.close()
    assert refused.value.reason.code == code


async def test_a_refusal_is_counted_as_one(pki: Path, provisioner: Provisioner) -> None:
    registry = CollectorRegistry()
    calls, context = ProviderCalls(registry), service_context(settings(pki))
    provisioner.answer = (503, b"<html>")
    client = SigningClient(provisioner.url, context, CredentialPersona.MONITOR, 5 * SECOND, calls)
    with pytest.raises(RetryLater):
        await client.sign("c1", "csr", SECOND)
    await client.close()
    labels = {"provider": "signing", "call": "POST", "outcome": "retry"}
    assert registry.get_sample_value("slipway_provider_calls_total", labels) == 1.0


async def test_a_provisioner_that_is_away_is_tried_again(pki: Path) -> None:
    context = service_context(settings(pki))
    client = SigningClient("https://127.0.0.1:1", context, CredentialPersona.MONITOR, 5 * SECOND)
    with pytest.raises(RetryLater) as refused:
        await client.sign("c1", "csr", SECOND)
    await client.close()
    assert refused.value.reason.code == "SigningUnreachable"


def test_a_missing_certificate_names_its_setting(pki: Path) -> None:
    with pytest.raises(ValueError, match="tls_key_file"):
        service_context(settings(pki, tls_key_file=None))
    with pytest.raises(ValueError, match="tls_ca_file"):
        service_context(settings(pki, tls_ca_file=pki / "none.pem"))


class Signer:
    """Signs for as long as it is asked to, and counts."""

    def __init__(self, clock: SteppingClock) -> None:
        self.clock = clock
        self.signed = 0

    async def sign(self, cluster_id: str, csr_pem: str, lifetime: timedelta) -> SignedCredential:
        self.signed += 1
        return SignedCredential.model_validate(a_credential(self.clock, lifetime))


async def test_a_credential_is_renewed_at_half_of_its_life_and_not_before() -> None:
    clock = SteppingClock()
    signer = Signer(clock)
    kept = KeptCredentials(signer.sign, clock, timedelta(hours=24))
    first = await kept.of("c1")
    clock.step(timedelta(hours=12) - SECOND)
    assert await kept.of("c1") is first
    clock.step(SECOND)
    second = await kept.of("c1")
    assert signer.signed == 2
    assert second.key_pem != first.key_pem


async def test_each_cluster_has_its_own_and_a_forgotten_one_is_made_anew() -> None:
    clock = SteppingClock()
    signer = Signer(clock)
    kept = KeptCredentials(signer.sign, clock, timedelta(hours=24))
    first, other = await kept.of("c1"), await kept.of("c2")
    assert first.key_pem != other.key_pem
    kept.forget("c1")
    assert await kept.of("c1") is not first
    assert await kept.of("c2") is other


async def test_a_key_is_never_shown() -> None:
    clock = SteppingClock()
    credential = await KeptCredentials(Signer(clock).sign, clock, SECOND).of("c1")
    assert "PRIVATE KEY" in credential.key_pem
    assert "PRIVATE KEY" not in repr(credential)
