"""The signing call to the region's provisioner: mutual TLS, one request."""

import httpx
import structlog
from pydantic import ValidationError

from slipway_api.domain.problems import FieldProblem, Problem
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.regions import Region
from slipway_contracts.signing import SignedCredential, SigningRequest

log = structlog.get_logger()

_AWAY = {"Retry-After": "10"}


class ProvisionerSigner:
    """Asks the region's provisioner to sign (contracts: signing)."""

    def __init__(self, client: httpx.AsyncClient, calls: ProviderCalls | None = None) -> None:
        self._client = client
        self._calls = calls or ProviderCalls()

    async def sign(self, region: Region, cluster_id: str, request: SigningRequest) -> SignedCredential:
        """See ports.Signer."""
        url = f"{region.signing_url.rstrip('/')}/v1/clusters/{cluster_id}/credentials"
        try:
            with self._calls.made("signing", "POST"):
                response = await self._client.post(url, json=request.model_dump(mode="json", exclude_none=True))
        except httpx.HTTPError as error:
            raise _away(region, type(error).__name__) from error
        if response.status_code in (404, 409):
            raise Problem(
                "not_available_yet", "The cluster's keys or endpoint do not exist yet; try again.", headers=_AWAY
            )
        if response.status_code == 422:
            raise _unsignable(response)
        if response.status_code not in (200, 201):
            raise _away(region, f"status {response.status_code}")
        try:
            return SignedCredential.model_validate_json(response.content)
        except ValidationError as error:
            raise _away(region, "the answer is not understood") from error


_OF_THE_NAME = ("InvalidName", "ReservedName")
"""The provisioner's codes for a user's name that it puts into no certificate."""


def _unsignable(response: httpx.Response) -> Problem:
    try:
        code, why = str(response.json().get("code")), str(response.json()["detail"])
    except (ValueError, KeyError, TypeError, AttributeError):
        code, why = "", "the provisioner cannot sign this request"
    if code in _OF_THE_NAME:
        return Problem("user_name_not_signable", f"Your name in Keystone cannot be in a certificate: {why}.")
    remedy = "Use a key that is common for Kubernetes: ECDSA P-256, or RSA of 2048 bits and more."
    return Problem("invalid_csr", f"csr_pem: {why}", (FieldProblem("invalid_csr", "csr_pem", why, remedy),))


def _away(region: Region, why: str) -> Problem:
    log.warning("Provisioner does not sign", region=region.name, why=why)
    return Problem(
        "signing_unavailable", f"The provisioner of {region.name} does not answer; try again.", headers=_AWAY
    )
