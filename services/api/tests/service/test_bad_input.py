"""Everything that a user can get wrong has its own code, its field and its remedy, and changes nothing."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select

from slipway_api.store import AuditRow
from slipway_api.testing_platform import Platform, a_platform


def a_request(**changes: Any) -> dict[str, Any]:
    return {"name": "shop", **changes}


def pools(**counts: int) -> list[dict[str, Any]]:
    return [{"name": role, "role": role, "count": count} for role, count in counts.items()]


CASES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "an unknown flavor": (a_request(flavor="m9.huge"), 422, "unknown_flavor", "flavor"),
    "an unknown flavor of one pool": (
        a_request(pools=[{"name": "gpu", "count": 1, "flavor": "m9.huge"}]), 422, "unknown_flavor", "pools[0].flavor",
    ),
    "an unknown image": (a_request(image="beos"), 422, "unknown_image", "image"),
    "an unknown network": (a_request(network="nowhere"), 422, "unknown_network", "network"),
    "a network without a subnet": (a_request(network="empty"), 422, "network_without_subnet", "network"),
    "a network of IPv6 alone": (a_request(network="six"), 422, "network_without_subnet", "network"),
    "an external network": (a_request(network="public"), 422, "network_external", "network"),
    "an unknown zone": (a_request(zones=["zone-1", "zone-9"]), 422, "unknown_zone", "zones"),
    "an unknown zone of one pool": (
        a_request(pools=[{"name": "far", "count": 1, "zones": ["zone-9"]}]), 422, "unknown_zone", "pools[0].zones[0]",
    ),
    "an unknown region": (a_request(region="atlantis"), 422, "unknown_region", "region"),
    "an unknown release": (a_request(release="v0.1.0"), 422, "unknown_release", "release"),
    "no etcd node": (a_request(pools=pools(etcd=0)), 422, "invalid_count", "pools[0].count"),
    "no controller": (a_request(pools=pools(controller=0)), 422, "invalid_count", "pools[0].count"),
    "a negative number of workers": (a_request(pools=pools(worker=-1)), 422, "invalid_count", "pools[0].count"),
    "an even number of etcd nodes": (a_request(pools=pools(etcd=4)), 422, "even_etcd_count", "pools[0].count"),
    "too many controllers": (a_request(pools=pools(controller=6)), 422, "invalid_count", "pools[0].count"),
    "a number in quotes": (
        a_request(pools=[{"name": "worker", "count": "3"}]), 422, "invalid_field", "pools[0].count",
    ),
    "more servers than the quota": (
        a_request(pools=pools(worker=33)), 409, "instances_quota_exceeded", "pools[0].count",
    ),
    "more cores than the quota": (
        a_request(pools=[{"name": "w", "count": 19, "flavor": "m1.large"}]), 409, "cores_quota_exceeded",
        "pools[0].count",
    ),
    "overlapping ranges": (
        a_request(pod_cidr="10.96.0.0/12"), 422, "overlapping_cidrs", "pod_cidr",
    ),
    "a range that overlaps the region's network": (
        a_request(pod_cidr="192.168.128.0/17"), 422, "overlapping_cidrs", "pod_cidr",
    ),
    "a range that overlaps the nodes' subnet": (
        a_request(service_cidr="10.1.8.0/21"), 422, "overlapping_cidrs", "service_cidr",
    ),
    "a range with host bits": (a_request(pod_cidr="10.244.1.1/16"), 422, "invalid_cidr", "pod_cidr"),
    "a range that is none": (a_request(service_cidr="lots"), 422, "invalid_cidr", "service_cidr"),
    "a range too small for the nodes": (a_request(pod_cidr="10.244.0.0/22"), 422, "cidr_too_small", "pod_cidr"),
    "a name that is no DNS label": (a_request(name="My_Shop"), 422, "invalid_name", "name"),
    "an empty name": (a_request(name=""), 422, "invalid_name", "name"),
    "no name": ({}, 422, "missing_field", "name"),
    "names too long for a node": (
        a_request(name="s" * 40, pools=[{"name": "w" * 40, "count": 1}]), 422, "name_too_long", "pools[0].name",
    ),
    "two pools of one name": (
        a_request(pools=[{"name": "w", "count": 1}, {"name": "w", "count": 1}]), 422, "duplicate_pool", "pools[1].name",
    ),
    "two etcd pools": (
        a_request(pools=[{"name": f"e{n}", "role": "etcd", "count": 1} for n in (1, 2)]),
        422, "too_many_pools", "pools",
    ),
    "a role that does not exist": (
        a_request(pools=[{"name": "w", "role": "king", "count": 1}]), 422, "invalid_field", "pools[0].role",
    ),
    "a reserved label": (
        a_request(pools=[{"name": "w", "count": 1, "labels": {"node-role.kubernetes.io/worker": ""}}]),
        422, "restricted_label", "pools[0].labels.node-role.kubernetes.io/worker",
    ),
    "a label that is none": (
        a_request(pools=[{"name": "w", "count": 1, "labels": {"a b": "c"}}]),
        422, "invalid_label", "pools[0].labels.a b",
    ),
    "an unknown field": (a_request(colour="red"), 422, "unknown_field", "colour"),
    "an unknown field of a pool": (
        a_request(pools=[{"name": "w", "count": 1, "size": 3}]), 422, "unknown_field", "pools[0].size",
    ),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def untouched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """A member of a project whose requests are all refused: one api serves all cases."""
    async with (
        a_platform(tmp_path_factory.mktemp("untouched")) as platform,
        platform.client(platform.identity.issue()) as client,
    ):
        yield client
        assert (await client.get("/v1/clusters")).json()["items"] == []


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", CASES)
async def test_a_wrong_request_is_refused_with_field_and_remedy(case: str, untouched: httpx.AsyncClient) -> None:
    request, status, code, field = CASES[case]
    answer = await untouched.post("/v1/clusters", json=request)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    named = [error for error in problem["errors"] if error["code"] == code]
    assert [error["field"] for error in named][:1] == [field], problem
    assert all(error["remedy"].endswith((".", "json.")) and error["message"] for error in problem["errors"])
    assert problem["instance"] == f"urn:slipway:request:{answer.headers['x-request-id']}"


async def test_all_that_is_wrong_is_said_at_once(alice: httpx.AsyncClient) -> None:
    answer = await alice.post("/v1/clusters", json=a_request(name="X", pod_cidr="no", pools=pools(etcd=2)))
    assert {error["code"] for error in answer.json()["errors"]} == {"invalid_name", "invalid_cidr", "even_etcd_count"}


async def test_a_name_that_is_taken_is_refused_in_the_project_alone(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    assert (await alice.post("/v1/clusters", json=a_request())).status_code == 202
    again = await alice.post("/v1/clusters", json=a_request())
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")
    assert [(error["field"], error["remedy"][:19]) for error in again.json()["errors"]] == [
        ("name", "Choose another name")
    ]
    assert (await bob.post("/v1/clusters", json=a_request())).status_code == 202


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        pytest.param(b"{name: shop", "application/json", 400, "not_json", id="not JSON"),
        pytest.param(b"[]", "application/json", 400, "not_json", id="JSON, but no object"),
        pytest.param(b"name: shop", "text/yaml", 415, "unsupported_media_type", id="YAML"),
        pytest.param(b"{" + b" " * 1_100_000, "application/json", 413, "body_too_large", id="a huge body"),
    ],
)
async def test_a_body_that_is_not_json_is_refused(
    body: bytes, content_type: str, status: int, code: str, untouched: httpx.AsyncClient
) -> None:
    answer = await untouched.post("/v1/clusters", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_wrong_paths_and_methods_are_problems_too(alice: httpx.AsyncClient) -> None:
    assert (await alice.get("/v1/nothing")).json()["code"] == "not_found"
    answer = await alice.put("/v1/clusters", json={})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("path", "field"),
    [
        pytest.param("/v1/clusters?limit=0", "limit", id="an empty page"),
        pytest.param("/v1/clusters?state=happy", "state[0]", id="a state that does not exist"),
        pytest.param("/v1/clusters?marker=nobody", "marker", id="a marker that does not exist"),
        pytest.param("/v1/events?after=-1", "after", id="an id of an event that cannot be"),
        pytest.param(f"/v1/events?after={2**63}", "after", id="an id that no database has room for"),
        pytest.param("/v1/clusters?name=a%00b", "query", id="a character that no database takes"),
    ],
)
async def test_wrong_questions_are_refused(path: str, field: str, untouched: httpx.AsyncClient) -> None:
    answer = await untouched.get(path, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["errors"][0]["field"] == field


async def test_a_wrong_key_or_region_is_refused_by_the_name_of_its_header(alice: httpx.AsyncClient) -> None:
    for header, value, code in (
        ("Idempotency-Key", "with blank", "invalid_field"),
        ("Slipway-Region", "atlantis", "unknown_region"),
    ):
        answer = await alice.post("/v1/clusters", json=a_request(), headers={header: value})
        assert (answer.status_code, answer.json()["code"], answer.json()["errors"][0]["field"]) == (422, code, header)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("domain", ["", ".", "a..b", "-a.b", "a.-b", "Cluster.local", "a" * 64, ".".join("a" * 65)])
async def test_a_domain_that_is_none_is_refused(domain: str, untouched: httpx.AsyncClient) -> None:
    answer = await untouched.post("/v1/clusters", json=a_request(dns_domain=domain))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "dns_domain")


async def test_no_name_has_a_nul_character(platform: Platform, alice: httpx.AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        answer = await alice.request(method, "/v1/clusters/a%00b")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    async with platform.service.database.reading() as session:
        assert list((await session.execute(select(AuditRow.action))).scalars()) == [], "PostgreSQL would refuse it"


async def test_an_image_of_another_project_does_not_exist(platform: Platform, alice: httpx.AsyncClient) -> None:
    platform.cloud.private_to["i-debian"] = "id-of-bank"
    answer = await alice.post("/v1/clusters", json=a_request(image="i-debian"))
    assert answer.json()["code"] == "unknown_image"


async def test_a_cloud_that_is_away_is_no_cloud_without_flavors(platform: Platform, alice: httpx.AsyncClient) -> None:
    platform.cloud.away = True
    answer = await alice.post("/v1/clusters", json=a_request())
    assert (answer.status_code, answer.json()["code"]) == (503, "cloud_unavailable")
    assert answer.headers["retry-after"] == "10"


async def test_an_unknown_quota_is_left_to_the_cloud(platform: Platform, alice: httpx.AsyncClient) -> None:
    del platform.cloud.allowances["ports"]
    assert (await alice.post("/v1/clusters", json=a_request())).status_code == 202
