"""The agents' endpoint over real TLS: only a certificate of the agents' CA gets in, and speaks for its node alone."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway_chassis.tls import make_service_pki
from slipway_monitor.agent_api import PATH
from slipway_monitor.servers import serve_agents, tls_context
from slipway_monitor.settings import Settings
from slipway_monitor.testing import Stage, a_node, a_spec, a_stage, an_observation


def an_agent(folder: Path, ca: str, node_id: str = "w1", cluster_id: str = "c1") -> ssl.SSLContext:
    """A client's context with a certificate for the node, signed by this CA."""
    authority = x509.load_pem_x509_certificate((folder / f"{ca}.pem").read_bytes())
    signer = serialization.load_pem_private_key((folder / f"{ca}.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names = [(NameOID.ORGANIZATION_NAME, cluster_id), (NameOID.COMMON_NAME, node_id)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in names]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(signer, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / "agent.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(str(path))
    return context


class Stand:
    """The monitor's endpoint on a free port."""

    def __init__(self, stage: Stage, port: int, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.url = f"https://127.0.0.1:{port}"

    async def post(self, context: ssl.SSLContext, content: str | bytes, path: str = PATH) -> httpx.Response:
        async with httpx.AsyncClient(verify=context, timeout=5, trust_env=False) as client:
            return await client.post(self.url + path, content=content)

    def observation(self, node_id: str = "w1") -> str:
        return an_observation(node_id, self.stage.clock.now()).model_dump_json()


@pytest.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    make_service_pki(tmp_path, ["127.0.0.1"])
    settings = Settings(
        tls_cert_file=tmp_path / "monitor.pem",
        tls_key_file=tmp_path / "monitor.key",
        agent_ca_cert_file=tmp_path / "agent-ca.pem",
    )
    async with a_stage(tmp_path) as stage, serve_agents(stage.api, settings) as port:
        await stage.tell_cluster(a_spec())
        await stage.tell_node(a_node("w1"))
        yield Stand(stage, port, tmp_path)


async def test_an_agents_observation_is_taken(stand: Stand) -> None:
    answer = await stand.post(an_agent(stand.folder, "agent-ca"), stand.observation())
    assert (answer.status_code, answer.content) == (204, b"")
    heard = stand.stage.api.heard.latest("w1")
    assert heard is not None
    assert heard.observation.units[0].name == "kubelet.service"


async def test_an_agent_does_not_speak_for_another_node(stand: Stand) -> None:
    answer = await stand.post(an_agent(stand.folder, "agent-ca"), stand.observation("w2"))
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b'{"node_id": "w1"}', b""])
async def test_a_body_that_is_no_observation_is_refused_with_a_reason(stand: Stand, content: bytes) -> None:
    answer = await stand.post(an_agent(stand.folder, "agent-ca"), content)
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused(stand: Stand) -> None:
    answer = await stand.post(an_agent(stand.folder, "agent-ca"), b"x" * (128 * 1024))
    assert answer.status_code == 413


async def test_a_service_certificate_is_no_agents_certificate(stand: Stand) -> None:
    with pytest.raises(httpx.TransportError):
        await stand.post(an_agent(stand.folder, "ca"), stand.observation())


async def test_no_certificate_does_not_get_in(stand: Stand) -> None:
    with pytest.raises(httpx.TransportError):
        await stand.post(ssl.create_default_context(cafile=str(stand.folder / "ca.pem")), stand.observation())


async def test_another_path_is_not_found(stand: Stand) -> None:
    answer = await stand.post(an_agent(stand.folder, "agent-ca"), b"{}", path="/v1/agent/claim")
    assert answer.status_code == 404


def test_a_missing_agents_ca_is_named_with_its_variable(tmp_path: Path) -> None:
    make_service_pki(tmp_path, ["127.0.0.1"])
    settings = Settings(tls_cert_file=tmp_path / "monitor.pem", tls_key_file=tmp_path / "monitor.key")
    with pytest.raises(ValueError, match="SLIPWAY_MONITOR_AGENT_CA_CERT_FILE"):
        tls_context(settings)
