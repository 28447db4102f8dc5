"""Keystone and the catalogue of a cloud: the same tests on the emulated cloud and on a real one."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from openstack.config import OpenStackConfig

from slipway_api.adapters.cloud import OpenStackCatalogue
from slipway_api.adapters.clouds import CloudAddress, load_cloud_addresses
from slipway_api.adapters.keystone import KeystoneIdentity
from slipway_api.domain.offer import Allowance
from slipway_api.domain.people import Caller
from slipway_api.domain.problems import Problem
from slipway_api.testing import a_region
from slipway_chassis.regions import Region
from slipway_contracts.api import Persona
from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.faults import Effect, Fault
from slipway_sandbox.cloud.messages import Request
from slipway_sandbox.cloud.testing import SteppingClock, Tenant

ORIGIN = "http://sandbox"


class CloudOverHttpx(httpx.AsyncBaseTransport):
    """Calls the emulated cloud without a socket."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        answer = self._cloud.handle(Request.of(request.method, str(request.url), headers=dict(request.headers)))
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


@dataclass
class Stand:
    """A cloud, a member's token in it, and the two adapters."""

    region: Region
    token: str
    identity: KeystoneIdentity
    catalogue: OpenStackCatalogue
    network: str
    flavor: str
    image: str
    zone: str

    async def caller(self) -> Caller:
        """Whoever has the token."""
        return await self.identity.validate(self.region, self.token)


def _stand(address: CloudAddress, client: httpx.AsyncClient, token: str, names: tuple[str, str, str, str]) -> Stand:
    region = a_region()
    clients = {region.name: client}
    network, flavor, image, zone = names
    identity = KeystoneIdentity({region.name: address}, clients)
    return Stand(region, token, identity, OpenStackCatalogue(clients), network, flavor, image, zone)


@pytest.fixture
def cloud() -> Cloud:
    """An emulated cloud."""
    return Cloud(SteppingClock().now)


@pytest.fixture
async def emulated(cloud: Cloud) -> AsyncIterator[Stand]:
    """The emulated cloud, entered as its tenant demo."""
    address = CloudAddress(f"{ORIGIN}/identity/v3", "RegionOne")
    async with httpx.AsyncClient(transport=CloudOverHttpx(cloud)) as client:
        yield _stand(address, client, Tenant(cloud).token, ("private", "m1.small", "debian-12", "zone-1"))


@pytest.fixture
async def real() -> AsyncIterator[Stand]:
    """The cloud of SLIPWAY_TEST_CLOUD."""
    name = os.environ.get("SLIPWAY_TEST_CLOUD")
    if name is None:
        pytest.skip("no real cloud: set SLIPWAY_TEST_CLOUD to an entry of clouds.yaml")
    region = a_region(cloud=name, auth_url=None)
    address = load_cloud_addresses((region,), None)[region.name]
    async with address.client(20) as client:
        token = await _log_in(client, address, OpenStackConfig().get_one(cloud=name).config["auth"])
        stand = _stand(address, client, token, ("private", "", "", ""))
        caller = await stand.caller()
        flavor = (await stand.catalogue.flavors(caller, region))[0].name
        zone = min(await stand.catalogue.zones(caller, region))
        images = await client.get(f"{caller.endpoints['image']}/v2/images", headers={"X-Auth-Token": token})
        yield replace(stand, flavor=flavor, zone=zone, image=images.json()["images"][0]["name"])


async def _log_in(client: httpx.AsyncClient, address: CloudAddress, auth: dict[str, str]) -> str:
    domain = {"name": auth.get("user_domain_name", "Default")}
    user = {"name": auth["username"], "password": auth["password"], "domain": domain}
    scope = {"project": {"name": auth["project_name"], "domain": {"name": auth.get("project_domain_name", "Default")}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    answer = await client.post(f"{address.auth_url}/auth/tokens", json=body)
    assert answer.status_code == 201, answer.text
    return answer.headers["X-Subject-Token"]


@pytest.fixture(params=["emulated", pytest.param("real", marks=pytest.mark.openstack)])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Either."""
    there: Stand = request.getfixturevalue(request.param)
    return there


async def test_keystone_says_who_holds_a_token(stand: Stand) -> None:
    caller = await stand.caller()
    assert caller.persona is Persona.MEMBER
    assert caller.regions == ("sandbox",)
    assert {"compute", "network", "image"} <= set(caller.endpoints)
    assert stand.token not in repr(caller)


@pytest.mark.parametrize("token", ["made-up", "", "with\nbreak", "ümläut"])
async def test_keystone_does_not_accept_a_made_up_token(stand: Stand, token: str) -> None:
    with pytest.raises(Problem) as refused:
        await stand.identity.validate(stand.region, token)
    assert refused.value.code == "token_invalid"


async def test_flavor_image_network_and_zone_are_found_by_name_and_by_id(stand: Stand) -> None:
    caller, catalogue, region = await stand.caller(), stand.catalogue, stand.region
    flavor = next(each for each in await catalogue.flavors(caller, region) if each.name == stand.flavor)
    assert flavor.vcpus > 0
    assert flavor.ram > 0
    (image,) = await catalogue.images(caller, region, stand.image)
    assert list(await catalogue.images(caller, region, image.id)) == [image]
    assert image.status == "active"
    (network,) = await catalogue.networks(caller, region, stand.network)
    assert list(await catalogue.networks(caller, region, network.id)) == [network]
    assert network.attachable
    assert network.cidrs
    assert stand.zone in await catalogue.zones(caller, region)


@pytest.mark.parametrize("name", ["no-such-thing", "00000000-0000-4000-8000-000000000000", 'a,b"c\\d', "%00"])
async def test_what_is_not_there_is_an_empty_list(stand: Stand, name: str) -> None:
    caller = await stand.caller()
    assert await stand.catalogue.images(caller, stand.region, name) == []
    assert await stand.catalogue.networks(caller, stand.region, name) == []


async def test_the_quota_of_nova_and_neutron_is_read(stand: Stand) -> None:
    quota = await stand.catalogue.quota(await stand.caller(), stand.region)
    assert {"instances", "cores", "ram", "server_groups", "server_group_members", "ports", "security_groups"} <= set(
        quota
    )
    assert quota["instances"].limit > 0
    assert quota["security_groups"].used >= 1, "every project has its group `default`"


async def test_the_quota_of_cinder_is_read_with_what_is_used_of_it(cloud: Cloud, emulated: Stand) -> None:
    tenant, caller = Tenant(cloud), await emulated.caller()
    image = tenant.get("/image/v2/images?name=debian-12")["images"][0]["id"]
    root = {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "volume"}
    tenant.a_server(imageRef="", block_device_mapping_v2=[{**root, "volume_size": 40, "volume_type": "ssd"}])
    cloud.set_quota("demo", {"gigabytes_ssd": 100})
    quota = await emulated.catalogue.volume_quota(caller, emulated.region)
    assert quota is not None
    assert (quota["gigabytes"], quota["gigabytes_ssd"]) == (Allowance(1000, 40), Allowance(100, 40))
    assert (quota["volumes"].used, quota["per_volume_gigabytes"].free) == (1, None)


@pytest.mark.parametrize(
    "endpoints",
    [
        {"block-storage": f"{ORIGIN}/block-storage/v3"},
        {"block-storage": f"{ORIGIN}/block-storage"},
        {"volumev3": f"{ORIGIN}/block-storage/v3/{{project}}"},
    ],
    ids=["with its version", "without it", "an older type, with the project's id"],
)
async def test_cinder_is_found_however_the_catalogue_writes_it(emulated: Stand, endpoints: dict[str, str]) -> None:
    caller = await emulated.caller()
    written = {kind: url.format(project=caller.project_id) for kind, url in endpoints.items()}
    quota = await emulated.catalogue.volume_quota(replace(caller, endpoints=written), emulated.region)
    assert quota is not None
    assert quota["volumes"].limit == 10


async def test_a_catalogue_without_block_storage_says_so(emulated: Stand) -> None:
    caller = await emulated.caller()
    without = {kind: url for kind, url in caller.endpoints.items() if kind != "block-storage"}
    assert await emulated.catalogue.volume_quota(replace(caller, endpoints=without), emulated.region) is None


async def test_a_quota_of_volumes_that_the_caller_may_not_read_is_unknown(cloud: Cloud, emulated: Stand) -> None:
    cloud.arm(Fault(Effect.STATUS, "block-storage", status=403))
    assert await emulated.catalogue.volume_quota(await emulated.caller(), emulated.region) == {}


async def test_a_cinder_that_fails_is_away(cloud: Cloud, emulated: Stand) -> None:
    caller = await emulated.caller()
    cloud.take_down("block-storage")
    with pytest.raises(Problem) as away:
        await emulated.catalogue.volume_quota(caller, emulated.region)
    assert away.value.code == "cloud_unavailable"


async def test_an_external_network_takes_no_servers(emulated: Stand) -> None:
    (network,) = await emulated.catalogue.networks(await emulated.caller(), emulated.region, "public")
    assert not network.attachable


async def test_a_readers_token_makes_a_reader(cloud: Cloud, emulated: Stand) -> None:
    caller = await emulated.identity.validate(emulated.region, Tenant(cloud, "sandbox-reader").token)
    assert (caller.persona, caller.user_name) == (Persona.READER, "viewer")


async def test_a_token_that_is_revoked_meanwhile_is_no_missing_flavor(cloud: Cloud, emulated: Stand) -> None:
    caller = await emulated.caller()
    cloud.revoke_tokens()
    with pytest.raises(Problem) as refused:
        await emulated.catalogue.flavors(caller, emulated.region)
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("effect", [Effect.STATUS, Effect.EMPTY_LIST])
async def test_a_cloud_that_fails_or_says_nothing_is_away(cloud: Cloud, emulated: Stand, effect: Effect) -> None:
    caller = await emulated.caller()
    cloud.take_down("compute", effect)
    for ask in (emulated.catalogue.flavors, emulated.catalogue.zones):
        with pytest.raises(Problem) as away:
            await ask(caller, emulated.region)
        assert (away.value.code, away.value.status) == ("cloud_unavailable", 503)


async def test_a_keystone_that_fails_refuses_nobody(cloud: Cloud, emulated: Stand) -> None:
    cloud.take_down("identity")
    with pytest.raises(Problem) as away:
        await emulated.caller()
    assert away.value.code == "identity_unavailable"


async def test_nobody_listens_at_keystones_address() -> None:
    region = a_region()
    address = CloudAddress("http://127.0.0.1:1/v3")
    async with address.client(2) as client:
        with pytest.raises(Problem) as away:
            await KeystoneIdentity({region.name: address}, {region.name: client}).validate(region, "token")
    assert away.value.code == "identity_unavailable"


def test_a_region_without_an_address_is_named_at_start(tmp_path: Path) -> None:
    region = a_region(auth_url=None)
    with pytest.raises(ValueError, match=r"region sandbox: no auth_url"):
        load_cloud_addresses((region,), tmp_path / "clouds.yaml")
