"""What a caller sees of Nova, Glance, Neutron and Cinder, read with her own token as raw JSON."""

import asyncio
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import httpx
import structlog
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from slipway_api.domain.offer import Allowance, Flavor, Image, Network
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import Problem
from slipway_chassis.calls import ProviderCalls
from slipway_chassis.regions import Region

log = structlog.get_logger()

V = TypeVar("V")

_AWAY = {"Retry-After": "10"}
_VERSIONS = {"compute": "", "image": "/v2", "network": "/v2.0", "block-storage": "/v3"}
"""What an endpoint of the catalogue may lack: Nova's carries its version, the others' do so on some clouds only."""
_TYPES = {"block-storage": ("block-storage", "volumev3", "block-store")}
"""What the catalogue may call a service, where that is not one name (the service types authority's aliases)."""
_VOLUMES = ("volumes", "gigabytes", "per_volume_gigabytes")
_PAGE = 500


class _Flavor(BaseModel):
    id: str
    name: str
    vcpus: int
    ram: int
    disk: int = 0


class _Image(BaseModel):
    id: str
    name: str | None = None
    status: str
    min_ram: int = 0
    min_disk: int = 0


class _Network(BaseModel):
    id: str
    name: str = ""
    shared: bool = False
    external: bool = Field(default=False, alias="router:external")

    @property
    def attachable(self) -> bool:
        """Nova refuses external networks that are not shared to all but admins."""
        return self.shared or not self.external


class _Subnet(BaseModel):
    network_id: str
    cidr: str


class _ZoneState(BaseModel):
    available: bool


class _Zone(BaseModel):
    name: str = Field(alias="zoneName")
    state: _ZoneState = Field(alias="zoneState")


class _Link(BaseModel):
    rel: str
    href: str


class _Usage(BaseModel):
    limit: int
    used: int = 0
    reserved: int = 0


class _VolumeUsage(BaseModel):
    limit: int
    in_use: int = 0
    reserved: int = 0


class OpenStackCatalogue:
    """Implements ports.CloudCatalogue for real clouds."""

    def __init__(self, clients: Mapping[str, httpx.AsyncClient], calls: ProviderCalls | None = None) -> None:
        self._clients = clients
        self._calls = calls or ProviderCalls()

    async def flavors(self, caller: Caller, region: Region) -> Sequence[Flavor]:
        """See ports.CloudCatalogue."""
        found: list[_Flavor] = []
        query = {"limit": str(_PAGE)}
        while True:
            answer = await self._get(caller, region, "compute", "/flavors/detail", query)
            found += _read(list[_Flavor], answer, "flavors", region)
            links = _read(list[_Link], answer, "flavors_links", region) if "flavors_links" in answer else []
            if not found:
                # a cloud without flavors makes no servers: this is no answer to "which are there"
                raise _away(region, "compute", "the list of flavors is empty")
            if all(link.rel != "next" for link in links):
                return [Flavor(each.id, each.name, each.vcpus, each.ram, each.disk) for each in found]
            query = {"limit": str(_PAGE), "marker": found[-1].id}

    async def images(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Image]:
        """See ports.CloudCatalogue."""
        found: list[_Image] = []
        if _is_uuid(name_or_id):
            single = await self._find(caller, region, "image", f"/images/{name_or_id}")
            found = [] if single is None else [_read(_Image, {"image": single}, "image", region)]
        if not found:
            # Glance takes a plain value as it is, but splits one with a comma unless it is quoted after in:
            quoted = name_or_id.replace("\\", "\\\\").replace('"', '\\"')
            query = {"name": f'in:"{quoted}"', "limit": "10"}
            found = _read(list[_Image], await self._get(caller, region, "image", "/images", query), "images", region)
        return [Image(each.id, each.name or "", each.status, each.min_ram, each.min_disk) for each in found]

    async def networks(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Network]:
        """See ports.CloudCatalogue."""
        found: list[_Network] = []
        if _is_uuid(name_or_id):
            found = await self._networks(caller, region, {"id": name_or_id})
        if not found:
            found = await self._networks(caller, region, {"name": name_or_id})
        if not found:
            return []
        query = {"fields": ["network_id", "cidr"], "network_id": [each.id for each in found]}
        answer = await self._get(caller, region, "network", "/subnets", query)
        subnets = _read(list[_Subnet], answer, "subnets", region)
        return [
            Network(
                each.id,
                each.name,
                tuple(subnet.cidr for subnet in subnets if subnet.network_id == each.id),
                each.attachable,
            )
            for each in found
        ]

    async def _networks(self, caller: Caller, region: Region, query: dict[str, str]) -> list[_Network]:
        answer = await self._get(caller, region, "network", "/networks", query)
        return _read(list[_Network], answer, "networks", region)

    async def zones(self, caller: Caller, region: Region) -> Collection[str]:
        """See ports.CloudCatalogue."""
        answer = await self._get(caller, region, "compute", "/os-availability-zone")
        zones = _read(list[_Zone], answer, "availabilityZoneInfo", region)
        if not zones:
            raise _away(region, "compute", "the list of zones is empty")
        return {zone.name for zone in zones if zone.state.available}

    async def quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance]:
        """See ports.CloudCatalogue."""
        limits, details = await asyncio.gather(
            self._get(caller, region, "compute", "/limits"),
            self._find(caller, region, "network", f"/quotas/{caller.project_id}/details.json"),
        )
        return {**_compute_quota(limits), **_network_quota(details, region)}

    async def volume_quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance] | None:
        """See ports.CloudCatalogue."""
        if _endpoint(caller, "block-storage") is None:
            return None
        path = f"/os-quota-sets/{caller.project_id}"
        answer = await self._find(caller, region, "block-storage", path, {"usage": "True"})
        return _volume_quota(answer, region)

    async def _find(
        self, caller: Caller, region: Region, service: str, path: str, query: Mapping[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """As _get; None: it is not there, or not for this caller."""
        response = await self._request(caller, region, service, path, query or {})
        if response.status_code in (403, 404):
            return None
        return _json(response, region, service)

    async def _get(
        self, caller: Caller, region: Region, service: str, path: str, query: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        return _json(await self._request(caller, region, service, path, query or {}), region, service)

    async def _request(
        self, caller: Caller, region: Region, service: str, path: str, query: Mapping[str, Any]
    ) -> httpx.Response:
        endpoint = _endpoint(caller, service)
        if endpoint is None:
            raise _away(region, service, "the catalogue has no public endpoint of it")
        version = _VERSIONS[service]
        # Cinder's may have the project's id after the version
        complete = endpoint.endswith(version) or (service == "block-storage" and f"{version}/" in endpoint)
        base = endpoint if complete else endpoint + version
        try:
            with self._calls.made("openstack", f"GET {service}"):
                return await self._clients[region.name].get(
                    base + path, params=query, headers={"X-Auth-Token": caller.token, "Accept": "application/json"}
                )
        except httpx.HTTPError as error:
            raise _away(region, service, type(error).__name__) from error


def _endpoint(caller: Caller, service: str) -> str | None:
    found = (caller.endpoints.get(each) for each in _TYPES.get(service, (service,)))
    return next((url for url in found if url is not None), None)


def _json(response: httpx.Response, region: Region, service: str) -> dict[str, Any]:
    if response.status_code == 401:
        raise Problem("token_invalid", "The cloud does not accept the token any more; get a new one.")
    if response.status_code != 200:
        raise _away(region, service, f"status {response.status_code}")
    try:
        document = response.json()
    except ValueError as error:
        raise _away(region, service, "the answer is not JSON") from error
    if not isinstance(document, dict):
        raise _away(region, service, "the answer is not an object")
    return document


def _read(kind: type[V], document: Mapping[str, Any], key: str, region: Region) -> V:
    try:
        return TypeAdapter(kind).validate_python(document[key])
    except (KeyError, ValidationError) as error:
        raise _away(region, key, "the answer is not understood") from error


def _compute_quota(answer: Mapping[str, Any]) -> dict[str, Allowance]:
    absolute = answer.get("limits", {}).get("absolute", {})
    named = {
        "instances": ("maxTotalInstances", "totalInstancesUsed"),
        "cores": ("maxTotalCores", "totalCoresUsed"),
        "ram": ("maxTotalRAMSize", "totalRAMUsed"),
        "server_groups": ("maxServerGroups", "totalServerGroupsUsed"),
    }
    quota = {
        resource: Allowance(int(absolute[limit]), int(absolute.get(used, 0)))
        for resource, (limit, used) in named.items()
        if limit in absolute
    }
    if "maxServerGroupMembers" in absolute:
        quota["server_group_members"] = Allowance(int(absolute["maxServerGroupMembers"]), 0)
    return quota


def _network_quota(answer: Mapping[str, Any] | None, region: Region) -> dict[str, Allowance]:
    if answer is None:
        return {}
    usages = _read(dict[str, _Usage], answer, "quota", region)
    named = {"ports": "port", "security_groups": "security_group"}
    return {
        resource: Allowance(usages[key].limit, usages[key].used + usages[key].reserved)
        for resource, key in named.items()
        if key in usages
    }


def _volume_quota(answer: Mapping[str, Any] | None, region: Region) -> dict[str, Allowance]:
    """The named quotas, and those of each volume type: Cinder puts the type's name after an underscore."""
    if answer is None:
        return {}
    told = {
        name: told
        for name, told in _read(dict[str, Any], answer, "quota_set", region).items()
        if name in _VOLUMES or name.startswith(("volumes_", "gigabytes_"))
    }
    usages = _read(dict[str, _VolumeUsage], {"quota_set": told}, "quota_set", region)
    return {name: Allowance(usage.limit, usage.in_use + usage.reserved) for name, usage in usages.items()}


def _away(region: Region, service: str, why: str) -> Problem:
    log.warning("Cloud does not answer", region=region.name, service=service, why=why)
    return Problem(
        "cloud_unavailable", f"The {service} service of {region.name} does not answer; try again.", headers=_AWAY
    )


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
