"""Desired state changes once, by the version it was made from, and says so on the bus in the same moment."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from slipway_api.store import ClusterRow, OperationRow
from slipway_api.testing_platform import Platform
from slipway_api.testing_story import Story, announced_spec
from slipway_contracts.api import Persona
from slipway_contracts.values import Role


async def a_cluster(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/clusters", json={"name": "shop", **changes})
    assert answer.status_code == 202, answer.text
    accepted: dict[str, Any] = answer.json()
    return accepted


async def test_a_name_alone_makes_a_cluster_of_five_three_and_three(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    answer = await alice.post("/v1/clusters", json={"name": "shop"}, headers={"X-Request-Id": "mine"})
    accepted = answer.json()
    assert answer.headers["location"] == f"/v1/operations/{accepted['operation']['id']}"
    assert answer.headers["etag"] == '"1"'
    spec = await announced_spec(platform)
    assert {pool.role: pool.count for pool in spec.pools} == {Role.ETCD: 5, Role.CONTROLLER: 3, Role.WORKER: 3}
    assert {pool.node_spec.flavor_id for pool in spec.pools} == {"f-small"}
    assert spec.pools[0].zones == ("zone-1", "zone-2")
    assert (spec.network_id, spec.region, spec.project_id) == ("n-private", "sandbox", "id-of-shop")
    assert [(user.name, user.persona) for user in spec.users] == [("alice@id-of-alice", Persona.MEMBER)]
    assert spec.operation_id == accepted["operation"]["id"]


async def test_a_cluster_is_made_of_what_each_pool_names(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(
        alice,
        flavor="f-large",
        zones=["zone-2"],
        pools=[
            {"name": "brain", "role": "etcd", "count": 1, "flavor": "m1.small"},
            {"name": "gpu", "count": 2, "labels": {"example.com/gpu": "yes"}, "zones": ["zone-1"],
             "taints": [{"key": "gpu", "effect": "NoSchedule"}], "health": {"unready_after": 60}},
        ],
    )  # fmt: skip
    spec = await announced_spec(platform)
    brain, gpu, controller = spec.pools
    assert (brain.node_spec.flavor_id, brain.zones, brain.count) == ("f-small", ("zone-2",), 1)
    assert (gpu.node_spec.flavor_id, gpu.zones, gpu.labels) == ("f-large", ("zone-1",), {"example.com/gpu": "yes"})
    assert (gpu.taints[0].key, gpu.health.unready_after.total_seconds()) == ("gpu", 60)
    assert (controller.name, controller.role, controller.count) == ("controller", Role.CONTROLLER, 3)


async def test_the_same_idempotency_key_gets_the_same_answer_and_makes_one_cluster(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "once"}
    first, second = await asyncio.gather(
        *(alice.post("/v1/clusters", json={"name": "shop"}, headers=key) for _ in range(2))
    )
    third = await alice.post(
        "/v1/clusters", content=b'{ "name" : "shop" }', headers=key | {"Content-Type": "application/json"}
    )
    assert [each.status_code for each in (first, second, third)] == [202, 202, 202]
    assert first.content == second.content == third.content
    assert third.headers["idempotent-replayed"] == "true"
    assert third.headers["location"] == first.headers["location"]
    async with platform.service.database.reading() as session:
        assert (await session.execute(select(func.count()).select_from(ClusterRow))).scalar_one() == 1


async def test_an_idempotency_key_is_not_lent_to_another_request(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "once"}
    await alice.post("/v1/clusters", json={"name": "shop"}, headers=key)
    other = await alice.post("/v1/clusters", json={"name": "other"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await bob.post("/v1/clusters", json={"name": "shop"}, headers=key)).status_code == 202


async def test_a_change_of_an_older_version_is_refused(alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    etag = (await alice.get("/v1/clusters/shop")).headers["etag"]
    path, scale = "/v1/clusters/shop/pools/worker", {"count": 4}
    assert (await alice.patch(path, json=scale, headers={"If-Match": etag})).status_code == 202
    late = await alice.patch(path, json={"count": 5}, headers={"If-Match": etag})
    assert (late.status_code, late.json()["code"], late.headers["etag"]) == (412, "precondition_failed", '"2"')
    assert (await alice.patch(path, json={"count": 5}, headers={"If-Match": '"1", "2"'})).status_code == 202


async def test_of_two_changes_at_once_one_wins_and_the_other_is_told(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await a_cluster(alice)
    both = asyncio.Barrier(2)
    real = platform.cloud.quota

    async def slow_quota(*arguments: Any) -> Any:
        # both requests have read the same version when either goes on
        await both.wait()
        return await real(*arguments)

    platform.cloud.quota = slow_quota  # type: ignore[method-assign]
    answers = await asyncio.gather(
        *(alice.patch("/v1/clusters/shop/pools/worker", json={"count": count}) for count in (4, 5))
    )
    assert sorted(each.status_code for each in answers) == [202, 409]
    refused = next(each.json() for each in answers if each.status_code == 409)
    assert refused["code"] == "conflicting_change"
    spec = await announced_spec(platform)
    assert (spec.generation, spec.pools[2].count in (4, 5)) == (2, True)


async def test_deleting_is_never_withdrawn_and_asked_twice_is_one_operation(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await a_cluster(alice)
    first = (await alice.delete("/v1/clusters/shop")).json()
    again = await alice.delete("/v1/clusters/shop")
    assert (again.status_code, again.json()["operation"]["id"]) == (202, first["operation"]["id"])
    assert first["cluster"]["state"] == "deleting"
    assert (await announced_spec(platform)).deletion_requested_at is not None
    late = await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 4})
    assert (late.status_code, late.json()["code"]) == (409, "being_deleted")
    taken = await alice.post("/v1/clusters", json={"name": "shop"})
    assert taken.json()["code"] == "name_taken"


async def test_pools_are_scaled_added_and_removed(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    scaled = (await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 6})).json()["operation"]
    assert (scaled["kind"], scaled["parameters"]) == ("scale_pool", {"pool": "worker", "from": 3, "to": 6})
    added = await alice.post("/v1/clusters/shop/pools", json={"name": "gpu", "count": 1, "flavor": "m1.large"})
    assert added.json()["operation"]["kind"] == "update_cluster"
    assert [pool["name"] for pool in (await alice.get("/v1/clusters/shop/pools")).json()["items"]] == [
        "etcd", "controller", "worker", "gpu",
    ]  # fmt: skip
    assert (await alice.delete("/v1/clusters/shop/pools/gpu")).status_code == 202
    spec = await announced_spec(platform)
    assert (spec.generation, [pool.count for pool in spec.pools]) == (4, [5, 3, 6])


async def test_a_change_that_changes_nothing_makes_no_generation(platform: Platform, alice: httpx.AsyncClient) -> None:
    accepted = await a_cluster(alice)
    same = await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 3})
    assert same.json()["operation"]["id"] == accepted["operation"]["id"]
    assert (await announced_spec(platform)).generation == 1


async def test_another_flavor_is_another_version_of_the_machines(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    answer = await alice.patch("/v1/clusters/shop/pools/worker", json={"flavor": "m1.large", "labels": {"a": "b"}})
    assert answer.json()["operation"]["kind"] == "update_cluster"
    worker = (await announced_spec(platform)).pools[2]
    assert (worker.node_spec.version, worker.node_spec.flavor_id, worker.labels) == (2, "f-large", {"a": "b"})


POOL_CHANGES: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "an even etcd": ("etcd", {"count": 4}, 422, "even_etcd_count"),
    "another size of etcd": ("etcd", {"count": 3}, 409, "etcd_size_fixed"),
    "no controllers": ("controller", {"count": 0}, 422, "invalid_count"),
    "fewer than no workers": ("worker", {"count": -1}, 422, "invalid_count"),
    "more workers than the quota": ("worker", {"count": 50}, 409, "instances_quota_exceeded"),
    "more workers than the pod range": ("worker", {"count": 300}, 422, "cidr_too_small"),
    "other machines for controllers": ("controller", {"flavor": "m1.large"}, 409, "machines_fixed"),
    "an unknown flavor": ("worker", {"flavor": "m9"}, 422, "unknown_flavor"),
    "an unknown zone": ("worker", {"zones": ["zone-9"]}, 422, "unknown_zone"),
    "an unknown victim": ("worker", {"count": 2, "victims": ["nobody"]}, 422, "unknown_victim"),
    "victims without a smaller count": ("worker", {"victims": ["any"]}, 422, "invalid_field"),
    "victims of a pool that grows": ("worker", {"count": 4, "victims": ["any"]}, 422, "invalid_field"),
    "a reserved label": ("worker", {"labels": {"slipway/x": "y"}}, 422, "restricted_label"),
    "another role": ("worker", {"role": "etcd"}, 422, "immutable_field"),
    "an unknown field": ("worker", {"size": 4}, 422, "unknown_field"),
    "a pool that does not exist": ("ghosts", {"count": 1}, 404, "not_found"),
}


FIELDS = {
    "another size of etcd": "count", "more workers than the quota": "count", "other machines for controllers": "flavor",
    "an unknown victim": "victims[0]", "victims without a smaller count": "victims",
    "victims of a pool that grows": "victims",
}  # fmt: skip


async def test_wrong_changes_of_pools_are_refused(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    for case, (pool, change, status, code) in POOL_CHANGES.items():
        answer = await alice.patch(f"/v1/clusters/shop/pools/{pool}", json=change)
        assert (answer.status_code, answer.json()["code"]) == (status, code), case
        if case in FIELDS:
            assert [error["field"] for error in answer.json()["errors"]] == [FIELDS[case]], case
    assert (await alice.delete("/v1/clusters/shop/pools/etcd")).json()["code"] == "missing_pool"
    assert (await announced_spec(platform)).generation == 1


NEW_POOLS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "an unknown flavor": ({"flavor": "m9"}, 422, "unknown_flavor", "flavor"),
    "an unknown image": ({"image": "beos"}, 422, "unknown_image", "image"),
    "an unknown network": ({"network": "nowhere"}, 422, "unknown_network", "network"),
    "an unknown zone": ({"zones": ["zone-9"]}, 422, "unknown_zone", "zones[0]"),
    "fewer than no workers": ({"count": -1}, 422, "invalid_count", "count"),
    "more than a pool may have": ({"count": 1001}, 422, "invalid_count", "count"),
    "more than the quota": ({"count": 50}, 409, "instances_quota_exceeded", "count"),
    "more than the pod range": ({"count": 300}, 422, "cidr_too_small", "count"),
    "a name that is no DNS label": ({"name": "My_Pool"}, 422, "invalid_name", "name"),
    "names too long for a node": ({"name": "w" * 60}, 422, "name_too_long", "name"),
    "a name that is taken": ({"name": "worker"}, 422, "duplicate_pool", "name"),
    "a second etcd": ({"role": "etcd"}, 422, "too_many_pools", "role"),
    "an unknown field": ({"size": 3}, 422, "unknown_field", "size"),
}


async def test_wrong_new_pools_are_refused(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    for case, (fields, status, code, field) in NEW_POOLS.items():
        answer = await alice.post("/v1/clusters/shop/pools", json={"name": "more", "count": 1, **fields})
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (status, code), (case, problem)
        assert field in [error["field"] for error in problem["errors"]], (case, problem)
        assert all(error["message"] and error["remedy"].endswith(".") for error in problem["errors"]), case
    assert (await announced_spec(platform)).generation == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"pod_cidr": "10.0.0.0/16"}, "immutable_field", id="what was decided at creation"),
        pytest.param({"colour": "red"}, "unknown_field", id="what nobody knows"),
        pytest.param({"users": [{"name": "nobody", "persona": "member"}]}, "invalid_field", id="a user without an id"),
        pytest.param({"users": [{"name": " a@1", "persona": "member"}]}, "invalid_field", id="a blank at an end"),
        pytest.param({"users": [{"name": "a\0b@1", "persona": "member"}]}, "invalid_field", id="what is not printable"),
        pytest.param({"users": [{"name": f"{'ä' * 127}@1", "persona": "member"}]}, "invalid_field", id="a long name"),
        pytest.param({"users": [{"name": "system:x@1", "persona": "member"}]}, "invalid_field", id="a program's name"),
        pytest.param(
            {"users": [{"name": "a@1", "persona": "reader"}, {"name": "a@1", "persona": "admin"}]},
            "invalid_field",
            id="one user twice",
        ),
        pytest.param({"users": [{"name": "a@1", "persona": "king"}]}, "invalid_field", id="an unknown persona"),
    ],
)
async def test_wrong_changes_of_a_cluster_are_refused(change: Any, code: str, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    answer = await alice.patch("/v1/clusters/shop", json=change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["remedy"].endswith(".")


@pytest.mark.parametrize("name", ["alice@mail.example", "Alice de Bruyn", "a" * 200])
async def test_whoever_made_a_cluster_can_be_named_among_its_users(name: str, platform: Platform) -> None:
    async with platform.client(platform.identity.issue(name, "shop")) as client:
        made = await a_cluster(client)
        assert made["operation"]["requested_by"] == f"{name}@id-of-{name}"[:200]
        users = [{"name": f"{name}@1f3a", "persona": "member"}]
        answer = await client.patch("/v1/clusters/shop", json={"users": users})
        assert answer.status_code == 202, answer.text


async def test_users_are_replaced_as_a_list(platform: Platform, alice: httpx.AsyncClient) -> None:
    await a_cluster(alice)
    users = [{"name": "carol@id-of-carol", "persona": "reader"}]
    assert (await alice.patch("/v1/clusters/shop", json={"users": users})).status_code == 202
    assert [(user.name, user.persona) for user in (await announced_spec(platform)).users] == [
        ("carol@id-of-carol", Persona.READER)
    ]


async def test_victims_are_named_as_people_know_them_and_forgotten_with_the_next_change(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await a_cluster(alice)
    story = Story(platform, await announced_spec(platform))
    await story.names_nodes()
    change = {"count": 2, "victims": ["shop-worker-00002"]}
    assert (await alice.patch("/v1/clusters/shop/pools/worker", json=change)).status_code == 202
    assert (await announced_spec(platform)).pools[2].victims == ("worker-2",)
    await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 3})
    assert (await announced_spec(platform)).pools[2].victims == ()


async def test_a_restored_older_database_refuses_changes_and_asks_for_the_facts(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await a_cluster(alice)
    story = Story(platform, await announced_spec(platform))
    await story.table(story.spec.pools[2].pool_id, generation=7)
    answer = await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 4})
    assert (answer.status_code, answer.json()["code"]) == (409, "desired_state_behind")
    said: list[str] = []

    async def publish(batch: Any) -> list[int]:
        said.extend(each.routing_key for each in batch)
        return [each.row_id for each in batch]

    await platform.service.relay_once(publish)
    assert said == ["resync.requested.v1.global"]


async def test_nothing_of_a_change_stays_when_it_cannot_be_committed(
    platform: Platform, alice: httpx.AsyncClient
) -> None:
    await a_cluster(alice)
    from slipway_chassis import crash

    def die(point: str) -> None:
        if point == "commit:before":
            raise crash.Crashed

    crash.arm(die)
    try:
        with pytest.raises(crash.Crashed):
            await alice.patch("/v1/clusters/shop/pools/worker", json={"count": 4})
    finally:
        crash.arm(None)
    assert (await alice.get("/v1/clusters/shop")).json()["generation"] == 1
    async with platform.service.database.reading() as session:
        assert (await session.execute(select(func.count()).select_from(OperationRow))).scalar_one() == 1
    assert (await announced_spec(platform)).generation == 1
