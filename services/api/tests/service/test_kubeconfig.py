"""Kubeconfigs: the person is let in by name, her public key is signed, and no private key moves."""

import asyncio
import base64

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from slipway_api.testing_platform import Platform
from slipway_api.testing_story import Story, announced_spec
from slipway_contracts.api import Persona
from slipway_contracts.signing import CredentialPersona

PATH = "/v1/clusters/shop/kubeconfig"


def a_csr() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "system:masters")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
async def story(platform: Platform, alice: httpx.AsyncClient) -> Story:
    """A cluster that is ready."""
    small = [{"name": role, "role": role, "count": 1} for role in ("etcd", "controller", "worker")]
    await alice.post("/v1/clusters", json={"name": "shop", "pools": small})
    there = Story(platform, await announced_spec(platform))
    await there.becomes_ready()
    return there


async def test_the_creator_gets_a_certificate_in_her_own_name(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    answer = await alice.post(PATH, json={"csr_pem": a_csr(), "lifetime": 3600})
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert (given["user"], given["operation_id"]) == ("alice@id-of-alice", None)
    certificate = x509.load_pem_x509_certificate(given["certificate_pem"].encode())
    assert certificate.subject.rfc4514_string() == "CN=alice@id-of-alice"
    (asked,) = platform.signer.signed
    assert (asked.persona, asked.user_name, asked.lifetime) == (CredentialPersona.USER, "alice@id-of-alice", 3600)
    config = given["kubeconfig"]
    assert config["clusters"][0]["cluster"]["server"] == "https://10.1.0.4:6443"
    pem = base64.b64decode(config["users"][0]["user"]["client-certificate-data"]).decode()
    assert pem == given["certificate_pem"]
    assert "PRIVATE KEY" not in answer.text
    assert config["current-context"] == config["contexts"][0]["name"] == "alice@id-of-alice@shop"


async def test_who_was_not_let_in_before_is_let_in_with_her_own_persona(
    platform: Platform, rita: httpx.AsyncClient, story: Story
) -> None:
    given = (await rita.post(PATH, json={"csr_pem": a_csr()})).json()
    spec = await announced_spec(platform)
    assert (spec.generation, spec.operation_id) == (2, given["operation_id"])
    assert [(user.name, user.persona) for user in spec.users] == [
        ("alice@id-of-alice", Persona.MEMBER),
        ("rita@id-of-rita", Persona.READER),
    ]
    again = (await rita.post(PATH, json={"csr_pem": a_csr()})).json()
    assert again["operation_id"] is None


async def test_many_are_let_in_at_the_same_time(platform: Platform, story: Story) -> None:
    names = [f"pupil-{number}" for number in range(6)]
    clients = [platform.client(platform.identity.issue(name, "shop", ["reader"])) for name in names]
    try:
        answers = await asyncio.gather(*(client.post(PATH, json={"csr_pem": a_csr()}) for client in clients))
    finally:
        for client in clients:
            await client.aclose()
    assert [answer.status_code for answer in answers] == [200] * 6, [answer.text for answer in answers]
    users = {user.name for user in (await announced_spec(platform)).users}
    assert users == {"alice@id-of-alice", *(f"{name}@id-of-{name}" for name in names)}


async def test_what_renews_by_itself_lets_nobody_in(
    platform: Platform, alice: httpx.AsyncClient, rita: httpx.AsyncClient, story: Story
) -> None:
    body = {"csr_pem": a_csr(), "grant": False}
    assert (await alice.post(PATH, json=body)).status_code == 200
    refused = await rita.post(PATH, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_let_in")
    removed = await alice.patch("/v1/clusters/shop", json={"users": []})
    assert removed.status_code == 202, removed.text
    refused = await alice.post(PATH, json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_let_in")
    assert len(platform.signer.signed) == 1
    assert (await announced_spec(platform)).users == ()


@pytest.mark.parametrize(
    ("persona", "status"),
    [pytest.param("reader", 200, id="her own role"), pytest.param("member", 403, id="a role above hers")],
)
async def test_rights_above_the_role_are_not_renewed(
    persona: str, status: int, alice: httpx.AsyncClient, rita: httpx.AsyncClient, story: Story
) -> None:
    users = [{"name": "rita@id-of-rita", "persona": persona}]
    assert (await alice.patch("/v1/clusters/shop", json={"users": users})).status_code == 202
    assert (await rita.post(PATH, json={"csr_pem": a_csr(), "grant": False})).status_code == status


async def test_without_a_key_the_endpoint_and_its_ca_are_told(alice: httpx.AsyncClient, story: Story) -> None:
    given = (await alice.post(PATH, json={})).json()
    assert (given["endpoint"], given["certificate_pem"]) == ("https://10.1.0.4:6443", None)
    assert given["kubeconfig"]["users"][0]["user"] == {}


async def test_a_cluster_without_an_endpoint_cannot_be_entered_yet(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await alice.post("/v1/clusters", json={"name": "shop"})
    answer = await alice.post(PATH, json={"csr_pem": a_csr()})
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        409,
        "not_available_yet",
        "15",
    )
    assert platform.signer.signed == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param({"csr_pem": "nonsense"}, "invalid_csr", id="no certificate request"),
        pytest.param({"csr_pem": "x", "lifetime": 90000}, "invalid_field", id="longer than half a day"),
        pytest.param({"key_pem": "x"}, "unknown_field", id="a private key"),
    ],
)
async def test_wrong_requests_are_refused(
    body: dict[str, object], code: str, platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    answer = await alice.post(PATH, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert platform.signer.signed == []


async def test_a_provisioner_that_is_away_is_said_to_be_away(
    platform: Platform, alice: httpx.AsyncClient, story: Story
) -> None:
    platform.signer.away = True
    answer = await alice.post(PATH, json={"csr_pem": a_csr()})
    assert (answer.status_code, answer.json()["code"]) == (503, "signing_unavailable")
