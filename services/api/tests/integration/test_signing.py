"""The signing call over real mutual TLS: what is asked, and what each answer means to a user."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from slipway_api.adapters.signing import ProvisionerSigner
from slipway_api.domain.problems import Problem
from slipway_api.settings import Settings
from slipway_api.testing import a_region
from slipway_api.testing_server import listening
from slipway_chassis.signing import service_context
from slipway_chassis.tls import make_service_pki
from slipway_contracts.signing import CredentialPersona, SignedCredential, SigningRequest

WANTED = SigningRequest(persona=CredentialPersona.USER, csr_pem="CSR", user_name="alice@1", lifetime=3600)
SIGNED = SignedCredential(
    certificate_pem="CERT", ca_pem="CA", endpoint="https://10.0.0.4:6443", expires_at=datetime(2030, 1, 1, tzinfo=UTC)
)


@dataclass
class Provisioner:
    """The other side."""

    url: str = ""
    status: int = 200
    problem: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, SigningRequest]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.asked.append((request.url.path, SigningRequest.model_validate_json(await request.body())))
        if self.status != 200:
            return JSONResponse(self.problem, self.status)
        return JSONResponse(SIGNED.model_dump(mode="json"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_service_pki(tmp_path, ["127.0.0.1"])
    return tmp_path


@pytest.fixture
async def provisioner(folder: Path) -> AsyncIterator[Provisioner]:
    there = Provisioner()
    web = Starlette(routes=[Route("/v1/clusters/{cluster}/credentials", there.answer, methods=["POST"])])
    config = uvicorn.Config(
        web,
        log_config=None,
        lifespan="off",
        ssl_certfile=str(folder / "provisioner.pem"),
        ssl_keyfile=str(folder / "provisioner.key"),
        ssl_ca_certs=str(folder / "ca.pem"),
        ssl_cert_reqs=ssl.CERT_REQUIRED,
    )
    async with listening(config) as port:
        there.url = f"https://127.0.0.1:{port}"
        yield there


@pytest.fixture
async def signer(folder: Path) -> AsyncIterator[ProvisionerSigner]:
    settings = Settings(
        tls_cert_file=folder / "api.pem", tls_key_file=folder / "api.key", tls_ca_file=folder / "ca.pem"
    )
    async with httpx.AsyncClient(verify=service_context(settings), timeout=5, trust_env=False) as client:
        yield ProvisionerSigner(client)


async def test_the_public_key_goes_and_the_certificate_comes(
    provisioner: Provisioner, signer: ProvisionerSigner
) -> None:
    assert await signer.sign(a_region(signing_url=provisioner.url), "c-1", WANTED) == SIGNED
    assert provisioner.asked == [("/v1/clusters/c-1/credentials", WANTED)]


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, "not_available_yet"), (404, "not_available_yet"), (422, "invalid_csr"), (403, "signing_unavailable"),
     (500, "signing_unavailable")],
)  # fmt: skip
async def test_each_refusal_is_a_problem_of_its_own(
    status: int, code: str, provisioner: Provisioner, signer: ProvisionerSigner
) -> None:
    provisioner.status, provisioner.problem = status, {"detail": "because"}
    with pytest.raises(Problem) as refused:
        await signer.sign(a_region(signing_url=provisioner.url), "c-1", WANTED)
    assert refused.value.code == code


@pytest.mark.parametrize("code", ["InvalidName", "ReservedName"])
async def test_a_name_that_no_certificate_bears_is_not_called_a_bad_key(
    code: str, provisioner: Provisioner, signer: ProvisionerSigner
) -> None:
    provisioner.status, provisioner.problem = (
        422,
        {"code": code, "detail": "names that start with system: are not for users"},
    )
    with pytest.raises(Problem) as refused:
        await signer.sign(a_region(signing_url=provisioner.url), "c-1", WANTED)
    assert (refused.value.code, refused.value.status) == ("user_name_not_signable", 403)
    assert "names that start with system:" in refused.value.detail


async def test_nobody_without_a_service_certificate_is_listened_to(folder: Path, provisioner: Provisioner) -> None:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    async with httpx.AsyncClient(verify=context, timeout=5, trust_env=False) as client:
        with pytest.raises(Problem) as away:
            await ProvisionerSigner(client).sign(a_region(signing_url=provisioner.url), "c-1", WANTED)
    assert (away.value.code, provisioner.asked) == ("signing_unavailable", [])
