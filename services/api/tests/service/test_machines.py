"""What a pool's machines are made of: a region's node specs, root volumes, options of runtime and kubelet."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from slipway_api.domain.offer import Image
from slipway_api.testing import a_region
from slipway_api.testing_platform import Platform, a_platform
from slipway_chassis.regions import NamedNodeSpec, Volumes

OLD: dict[str, Any] = {"name": "standard", "version": 1, "flavor": "m1.small"}
NEW: dict[str, Any] = {
    "name": "standard",
    "version": 2,
    "flavor": "m1.large",
    "root_volume": {"size": 40, "type": "ssd"},
    "kubelet": {"max_pods": 60, "system_reserved": {"memory": "500Mi"}},
}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    """A region with two versions of a node spec, and volumes of one type."""
    specs = tuple(NamedNodeSpec.model_validate(each) for each in (OLD, NEW))
    region = a_region(node_specs=specs, volumes=Volumes(enabled=True, types=("ssd",)))
    async with a_platform(tmp_path, regions=[region]) as there:
        yield there


def a_request(**pool: Any) -> dict[str, Any]:
    return {"name": "shop", "pools": [{"name": "worker", "count": 2, **pool}]}


async def worker_of(client: httpx.AsyncClient) -> dict[str, Any]:
    pool: dict[str, Any] = (await client.get("/v1/clusters/shop/pools/worker")).json()
    return pool


async def change(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.patch("/v1/clusters/shop/pools/worker", json=changes)
    assert answer.status_code == 202, answer.json()
    return await worker_of(client)


async def test_a_regions_node_specs_are_listed_newest_first(platform: Platform) -> None:
    async with platform.client() as anybody:
        items = (await anybody.get("/v1/node-specs")).json()["items"]
        assert [(each["name"], each["version"], each["flavor"]) for each in items] == [
            ("standard", 2, "m1.large"),
            ("standard", 1, "m1.small"),
        ]
        assert items[0]["kubelet"]["max_pods"] == 60
        assert (await anybody.get("/v1/node-specs", params={"region": "elsewhere"})).json()["items"] == []


async def test_a_pool_refers_to_a_node_spec_by_name_or_version_and_keeps_what_it_got(alice: httpx.AsyncClient) -> None:
    assert (await alice.post("/v1/clusters", json=a_request(node_spec="standard@1"))).status_code == 202
    pool = await worker_of(alice)
    assert (pool["node_spec"], pool["flavor_id"], pool["root_volume"]) == ("standard@1", "f-small", None)
    newer = await change(alice, node_spec="standard")
    assert (newer["node_spec"], newer["flavor_id"]) == ("standard@2", "f-large")
    assert newer["root_volume"] == {"size": 40, "type": "ssd"}
    assert newer["kubelet"]["system_reserved"]["memory"] == "500Mi"
    own = await change(alice, flavor="m1.small")
    assert (own["node_spec"], own["flavor_id"], own["root_volume"]["size"]) == ("worker@3", "f-small", 40)


async def test_what_needs_another_machine_is_a_new_version_and_labels_and_taints_are_not(
    alice: httpx.AsyncClient,
) -> None:
    await alice.post("/v1/clusters", json=a_request())
    assert (await worker_of(alice))["node_spec"] == "worker@1"
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    labelled = await change(alice, labels={"tier": "a"}, taints=[taint])
    assert (labelled["node_spec"], labelled["labels"], labelled["taints"]) == ("worker@1", {"tier": "a"}, [taint])
    assert (await change(alice, kubelet={"max_pods": 30}))["node_spec"] == "worker@2"
    assert (await change(alice, kubelet={"max_pods": 30}))["node_spec"] == "worker@2", "no change is no change"
    mirrors = {"docker.io": "https://mirror.example:5000"}
    mirrored = await change(alice, runtime={"registry_mirrors": mirrors, "log_max_size": 20, "log_max_files": 3})
    assert (mirrored["node_spec"], mirrored["kubelet"]["max_pods"]) == ("worker@3", 30)
    assert mirrored["runtime"]["registry_mirrors"] == mirrors
    assert (await change(alice, root_volume={"size": 50}))["root_volume"] == {"size": 50, "type": None}
    assert (await change(alice, count=3))["root_volume"]["size"] == 50
    assert (await change(alice, root_volume=None))["root_volume"] is None
    assert (await change(alice, kubelet={}))["kubelet"]["max_pods"] is None


ETCD = {"name": "etcd", "role": "etcd", "count": 1}
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown node spec": (a_request(node_spec="tiny"), "unknown_node_spec", "pools[0].node_spec"),
    "an unknown version": (a_request(node_spec="standard@7"), "unknown_node_spec", "pools[0].node_spec"),
    "a node spec and a flavor": (
        a_request(node_spec="standard", flavor="m1.small"), "conflicting_fields", "pools[0].node_spec",
    ),
    "an unknown volume type": (
        a_request(root_volume={"size": 20, "type": "tape"}), "unknown_volume_type", "pools[0].root_volume.type",
    ),
    "a volume of nothing": (a_request(root_volume={"size": 0}), "invalid_field", "pools[0].root_volume.size"),
    "an unknown option": (a_request(kubelet={"maxPods": 3}), "unknown_field", "pools[0].kubelet.maxPods"),
    "more pods than a node has addresses": (
        a_request(kubelet={"max_pods": 300}), "invalid_field", "pools[0].kubelet.max_pods",
    ),
    "an amount that is none": (
        a_request(kubelet={"kube_reserved": {"cpu": "much"}}), "invalid_field", "pools[0].kubelet.kube_reserved.cpu",
    ),
    "a mirror that is no URL": (
        a_request(runtime={"registry_mirrors": {"docker.io": "x y"}}), "invalid_field",
        "pools[0].runtime.registry_mirrors.docker.io",
    ),
    "a label of ours": (
        a_request(labels={"slipway.dev/pool": "x"}), "restricted_label", "pools[0].labels.slipway.dev/pool",
    ),
    "labels of an etcd node": (
        {"name": "shop", "pools": [ETCD | {"labels": {"a": "b"}}]}, "not_for_etcd", "pools[0].labels",
    ),
    "a kubelet of an etcd node": (
        {"name": "shop", "pools": [ETCD | {"kubelet": {"max_pods": 20}}]}, "not_for_etcd", "pools[0].kubelet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
async def test_what_cannot_be_is_refused_with_field_and_remedy(case: str, alice: httpx.AsyncClient) -> None:
    request, code, field = CASES[case]
    problem = (await alice.post("/v1/clusters", json=request)).json()
    assert (problem["code"], problem["errors"][0]["field"]) == (code, field), problem
    assert problem["errors"][0]["remedy"].endswith(".")


async def test_a_root_volume_holds_the_image(platform: Platform, alice: httpx.AsyncClient) -> None:
    platform.cloud.image_list.append(Image("i-big", "big", min_disk=30))
    refused = (await alice.post("/v1/clusters", json=a_request(image="big", root_volume={"size": 20}))).json()
    assert (refused["code"], refused["errors"][0]["field"]) == ("volume_too_small", "pools[0].root_volume")
    enough = await alice.post("/v1/clusters", json=a_request(image="big", root_volume={"size": 30}))
    assert enough.status_code == 202, enough.json()


async def test_a_region_without_volumes_refuses_a_root_volume(tmp_path: Path) -> None:
    async with (
        a_platform(tmp_path) as platform,
        platform.client(platform.identity.issue()) as alice,
    ):
        refused = (await alice.post("/v1/clusters", json=a_request(root_volume={"size": 20}))).json()
        assert (refused["code"], refused["errors"][0]["field"]) == ("volumes_not_offered", "pools[0].root_volume")


VOLUME_LIMITS: dict[str, tuple[dict[str, int], dict[str, Any], str, str]] = {
    "more volumes than the quota": ({"volumes": 1}, {"size": 20}, "volumes_quota_exceeded", "pools[0].count"),
    "more GiB than the quota": ({"gigabytes": 39}, {"size": 20}, "gigabytes_quota_exceeded", "pools[0].count"),
    "more GiB than the quota of the type": (
        {"gigabytes_ssd": 39}, {"size": 20, "type": "ssd"}, "gigabytes_quota_exceeded", "pools[0].count",
    ),
    "more than a volume may have": (
        {"per_volume_gigabytes": 19}, {"size": 20}, "per_volume_gigabytes_quota_exceeded", "pools[0].root_volume",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", VOLUME_LIMITS)
async def test_root_volumes_must_fit_into_the_quota(case: str, platform: Platform, alice: httpx.AsyncClient) -> None:
    limits, volume, code, field = VOLUME_LIMITS[case]
    for resource, limit in limits.items():
        platform.cloud.set_limit(resource, limit)
    answer = await alice.post("/v1/clusters", json=a_request(root_volume=volume))
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["errors"][0]["field"]) == (409, code, field), problem
    assert "raised." in problem["errors"][0]["remedy"]
    assert (await alice.post("/v1/clusters", json=a_request())).status_code == 202, "no volume, no quota of volumes"


async def test_a_pool_that_grows_or_changes_its_volumes_needs_room_for_the_difference(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    assert (await alice.post("/v1/clusters", json=a_request(root_volume={"size": 20}))).status_code == 202
    platform.cloud.set_limit("gigabytes", 20)
    path = "/v1/clusters/shop/pools/worker"
    for body, field in (({"count": 4}, "count"), ({"root_volume": {"size": 40}}, "root_volume")):
        refused = (await alice.patch(path, json=body)).json()
        assert (refused["code"], refused["errors"][0]["field"]) == ("gigabytes_quota_exceeded", field)
    await change(alice, count=3)
    assert (await change(alice, root_volume=None))["root_volume"] is None
    added = await alice.post("/v1/clusters/shop/pools", json={"name": "b", "count": 2, "root_volume": {"size": 20}})
    assert added.json()["code"] == "gigabytes_quota_exceeded"


async def test_larger_machines_need_room_for_the_difference(platform: Platform, alice: httpx.AsyncClient) -> None:
    assert (await alice.post("/v1/clusters", json=a_request())).status_code == 202
    path = "/v1/clusters/shop/pools/worker"
    platform.cloud.set_limit("cores", 5)
    refused = await alice.patch(path, json={"flavor": "m1.large"})
    assert (refused.status_code, refused.json()["code"]) == (409, "cores_quota_exceeded")
    assert refused.json()["errors"][0]["field"] == "flavor"
    platform.cloud.set_limit("cores", 6)
    assert (await alice.patch(path, json={"flavor": "m1.large"})).status_code == 202


@pytest.mark.parametrize(
    ("pool", "field"),
    [
        pytest.param({"root_volume": {"size": 20}}, "pools[0].root_volume", id="its own volume"),
        pytest.param({"node_spec": "standard"}, "pools[0].node_spec", id="a node spec's volume"),
    ],
)
async def test_a_cloud_without_block_storage_refuses_a_root_volume(
    pool: dict[str, Any], field: str, platform: Platform, alice: httpx.AsyncClient
) -> None:
    platform.cloud.volume_allowances = None
    answer = await alice.post("/v1/clusters", json=a_request(**pool))
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "block_storage_missing")
    assert (problem["errors"][0]["field"], problem["errors"][0]["remedy"][:26]) == (field, "Leave the root volume out,")
    assert (await alice.post("/v1/clusters", json=a_request())).status_code == 202, "who needs none is not refused"


async def test_a_quota_of_volumes_that_is_not_told_is_left_to_the_cloud(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    platform.cloud.volume_allowances = {}
    assert (await alice.post("/v1/clusters", json=a_request(root_volume={"size": 20}))).status_code == 202


async def test_the_machines_of_controllers_and_labels_of_etcd_stay_as_they_are(alice: httpx.AsyncClient) -> None:
    await alice.post("/v1/clusters", json=a_request())
    for changes in ({"kubelet": {"max_pods": 20}}, {"node_spec": "standard"}, {"root_volume": {"size": 20}}):
        answer = await alice.patch("/v1/clusters/shop/pools/controller", json=changes)
        assert answer.json()["code"] == "machines_fixed", changes
    labelled = await alice.patch("/v1/clusters/shop/pools/etcd", json={"labels": {"a": "b"}})
    assert labelled.json()["code"] == "not_for_etcd"


async def test_a_label_that_no_kubelet_may_change_is_allowed(alice: httpx.AsyncClient) -> None:
    labels = {"node-restriction.kubernetes.io/tenant": "a"}
    assert (await alice.post("/v1/clusters", json=a_request(labels=labels))).status_code == 202
