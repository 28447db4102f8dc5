"""Who may do what: tokens, projects, roles, regions."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from slipway_api.store import AuditRow
from slipway_api.testing import a_region
from slipway_api.testing_platform import Platform, a_platform
from slipway_chassis.clock import SteppingClock


async def test_without_a_token_nothing_is_shown(platform: Platform) -> None:
    async with platform.client() as client:
        answer = await client.get("/v1/clusters")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == "Keystone"


async def test_a_token_that_keystone_does_not_know_is_refused(platform: Platform) -> None:
    async with platform.client("made-up") as client:
        answer = await client.get("/v1/clusters")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_a_token_is_asked_for_once_and_believed_until_it_expires(platform: Platform) -> None:
    clock = platform.clock
    assert isinstance(clock, SteppingClock)
    token = platform.identity.issue(lasts=timedelta(minutes=3))
    async with platform.client(token) as client:
        for _ in range(3):
            assert (await client.get("/v1/clusters")).status_code == 200
        assert platform.identity.asked == 1
        clock.step(timedelta(minutes=3))
        answer = await client.get("/v1/clusters")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


async def test_a_revoked_token_is_believed_for_five_minutes_at_most(platform: Platform) -> None:
    clock = platform.clock
    assert isinstance(clock, SteppingClock)
    token = platform.identity.issue()
    async with platform.client(token) as client:
        assert (await client.get("/v1/clusters")).status_code == 200
        platform.identity.revoke(token)
        clock.step(timedelta(minutes=5))
        assert (await client.get("/v1/clusters")).json()["code"] == "token_invalid"


async def test_a_keystone_that_is_away_refuses_nobody(platform: Platform) -> None:
    platform.identity.away = True
    async with platform.client("any") as client:
        answer = await client.get("/v1/clusters")
    assert (answer.status_code, answer.json()["code"]) == (503, "identity_unavailable")


PATHS: list[tuple[str, str, dict[str, Any] | None]] = [
    ("GET", "", None),
    ("PATCH", "", {"users": []}),
    ("DELETE", "", None),
    ("GET", "/pools", None),
    ("POST", "/pools", {"name": "more", "count": 1}),
    ("GET", "/pools/worker", None),
    ("PATCH", "/pools/worker", {"count": 1}),
    ("DELETE", "/pools/worker", None),
    ("GET", "/nodes", None),
    ("GET", "/nodes/any", None),
    ("POST", "/kubeconfig", {}),
]


async def test_a_foreign_cluster_does_not_exist(alice: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    cluster = (await alice.post("/v1/clusters", json={"name": "shop"})).json()["cluster"]
    for method, path, body in PATHS:
        for known_as in (cluster["id"], "shop"):
            answer = await bob.request(method, f"/v1/clusters/{known_as}{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path)
    assert (await alice.get("/v1/clusters/shop")).json()["generation"] == 1


async def test_lists_operations_and_events_are_the_projects_own(
    alice: httpx.AsyncClient, bob: httpx.AsyncClient
) -> None:
    accepted = (await alice.post("/v1/clusters", json={"name": "shop"})).json()
    assert (await bob.get("/v1/clusters")).json()["items"] == []
    assert (await bob.get("/v1/operations")).json()["items"] == []
    assert (await bob.get(f"/v1/operations/{accepted['operation']['id']}")).status_code == 404
    assert (await bob.get("/v1/events", headers={"Accept": "application/json"})).json()["items"] == []
    for query in (f"cluster={accepted['cluster']['id']}", f"operation={accepted['operation']['id']}"):
        assert (await bob.get(f"/v1/events?{query}", headers={"Accept": "application/json"})).status_code == 404
    foreign_marker = await bob.get(f"/v1/clusters?marker={accepted['cluster']['id']}")
    assert foreign_marker.status_code == 422


async def test_a_reader_looks_and_changes_nothing(alice: httpx.AsyncClient, rita: httpx.AsyncClient) -> None:
    await alice.post("/v1/clusters", json={"name": "shop"})
    assert (await rita.get("/v1/clusters/shop")).status_code == 200
    for method, path, body in PATHS:
        if method == "GET" or path == "/kubeconfig":
            continue
        answer = await rita.request(method, f"/v1/clusters/shop{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "persona_insufficient"), path
    answer = await rita.post("/v1/clusters", json={"name": "mine"})
    assert answer.status_code == 403


async def test_every_change_is_in_the_audit_log_also_when_refused(
    platform: Platform, alice: httpx.AsyncClient, rita: httpx.AsyncClient
) -> None:
    made = await alice.post("/v1/clusters", json={"name": "shop"}, headers={"X-Request-Id": "request-1"})
    await rita.delete("/v1/clusters/shop")
    await alice.get("/v1/clusters")
    async with platform.client("made-up") as stranger:
        await stranger.delete("/v1/clusters/shop")
    async with platform.service.database.reading() as session:
        rows = list((await session.execute(select(AuditRow).order_by(AuditRow.id))).scalars())
    told = [(row.user_name, row.action, row.status, row.code) for row in rows]
    assert told == [
        ("alice", "POST /v1/clusters", 202, None),
        ("rita", "DELETE /v1/clusters/shop", 403, "persona_insufficient"),
        (None, "DELETE /v1/clusters/shop", 401, "token_invalid"),
    ]
    assert (rows[0].request_id, rows[0].remote) == ("request-1", "127.0.0.1")
    assert rows[0].cluster_id == made.json()["cluster"]["id"]


async def test_tokens_never_reach_the_database(platform: Platform, tmp_path: Path) -> None:
    token = platform.identity.issue("alice", "shop")
    async with platform.client(token) as client:
        await client.post("/v1/clusters", json={"name": "shop"}, headers={"Idempotency-Key": "k"})
    await platform.service.database.close()
    written = [file.read_bytes() for file in tmp_path.iterdir()]  # noqa: ASYNC240  nothing else runs now
    assert written
    assert all(token.encode() not in content for content in written)


async def test_each_region_asks_its_own_keystone_and_hides_the_others_clusters(tmp_path: Path) -> None:
    regions = [a_region("tokyo"), a_region("osaka")]
    async with a_platform(tmp_path, regions=regions) as platform:
        in_tokyo = platform.identity.issue("alice", "shop", region="tokyo")
        in_osaka = platform.identity.issue("alice", "shop", region="osaka")
        async with platform.client(in_tokyo) as client:
            assert (await client.post("/v1/clusters", json={"name": "east"})).json()["cluster"]["region"] == "tokyo"
            answer = await client.post("/v1/clusters", json={"name": "west", "region": "osaka"})
            assert answer.json()["code"] == "token_invalid"
        async with platform.client(in_osaka) as client:
            assert (await client.post("/v1/clusters", json={"name": "west", "region": "osaka"})).status_code == 202
        async with platform.client(in_osaka, **{"Slipway-Region": "osaka"}) as client:
            assert [each["name"] for each in (await client.get("/v1/clusters")).json()["items"]] == ["west"]
            assert (await client.get("/v1/clusters/east")).status_code == 404
        async with platform.client(in_osaka, **{"Slipway-Region": "atlantis"}) as client:
            assert (await client.get("/v1/clusters")).json()["code"] == "unknown_region"
