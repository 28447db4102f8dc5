"""Keystone, asked about a token with the token itself: needs no user of our own."""

from collections.abc import Mapping
from datetime import datetime

import httpx
import structlog
from pydantic import BaseModel, ValidationError

from slipway_api.adapters.clouds import CloudAddress
from slipway_api.domain.people import Caller, persona_of
from slipway_api.domain.problems import Problem
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.regions import Region

log = structlog.get_logger()

AWAY = {"Retry-After": "10"}


class _Named(BaseModel):
    id: str
    name: str


class _Endpoint(BaseModel):
    interface: str
    url: str
    region_id: str | None = None


class _Service(BaseModel):
    type: str
    endpoints: tuple[_Endpoint, ...] = ()


class _Token(BaseModel):
    """The part of a token's description that matters here."""

    user: _Named
    expires_at: datetime
    project: _Named | None = None
    roles: tuple[_Named, ...] = ()
    catalog: tuple[_Service, ...] = ()


class KeystoneIdentity:
    """Validates tokens at the regions' Keystones."""

    def __init__(
        self,
        addresses: Mapping[str, CloudAddress],
        clients: Mapping[str, httpx.AsyncClient],
        calls: ProviderCalls | None = None,
    ) -> None:
        self._calls = calls or ProviderCalls()
        self._addresses = addresses
        self._clients = clients

    async def validate(self, region: Region, token: str) -> Caller:
        """See ports.Identity."""
        address = self._addresses[region.name]
        try:
            with self._calls.made("openstack", "GET identity"):
                response = await self._clients[region.name].get(
                    f"{address.auth_url}/auth/tokens", headers={"X-Auth-Token": token, "X-Subject-Token": token}
                )
        except (httpx.LocalProtocolError, ValueError) as error:
            # the token has characters that no header can carry
            raise _invalid() from error
        except httpx.HTTPError as error:
            log.warning("Keystone does not answer", region=region.name, error=type(error).__name__)
            raise _away(region) from error
        if response.status_code in (401, 403, 404):
            raise _invalid()
        if response.status_code != 200:
            log.warning("Keystone fails", region=region.name, status=response.status_code)
            raise _away(region)
        return self._caller(region, token, response)

    def _caller(self, region: Region, token: str, response: httpx.Response) -> Caller:
        try:
            known = _Token.model_validate(response.json()["token"])
        except (ValueError, KeyError, ValidationError) as error:
            raise _away(region) from error
        if known.project is None:
            raise Problem(
                "project_scope_missing",
                "The token is not scoped to a project; issue one with a project (OS_PROJECT_NAME).",
            )
        persona = persona_of([role.name for role in known.roles])
        if persona is None:
            raise Problem(
                "persona_insufficient",
                f"None of your roles in the project {known.project.name} counts here; ask for reader, member or admin.",
            )
        address = self._addresses[region.name]
        return Caller(
            user_id=known.user.id,
            user_name=known.user.name,
            project_id=known.project.id,
            project_name=known.project.name,
            persona=persona,
            expires_at=known.expires_at,
            regions=tuple(name for name, each in self._addresses.items() if each.auth_url == address.auth_url),
            endpoints=_endpoints(known.catalog, address),
            token=token,
        )


def _endpoints(catalog: tuple[_Service, ...], address: CloudAddress) -> dict[str, str]:
    return {
        service.type: endpoint.url.rstrip("/")
        for service in catalog
        for endpoint in service.endpoints
        if endpoint.interface == "public" and address.region_name in (None, endpoint.region_id)
    }


def _invalid() -> Problem:
    return Problem(
        "token_invalid", "Keystone does not accept the token: it is wrong, expired or revoked; get a new one."
    )


def _away(region: Region) -> Problem:
    return Problem("identity_unavailable", f"The Keystone of {region.name} does not answer; try again.", headers=AWAY)
