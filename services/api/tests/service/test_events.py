"""The live stream: what happens is seen at once, by everybody who may, over each replica, without a gap."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete

from slipway_api.store import FeedRow
from slipway_api.testing_platform import Platform
from slipway_api.testing_server import Served, serving
from slipway_api.testing_story import Story, announced_spec
from slipway_contracts.operations import OperationState

JSON = {"Accept": "application/json"}


class Stream:
    """Reads Server-Sent Events, each wait bounded."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, str]:
        """The fields of the next event; a comment is one too."""
        async with asyncio.timeout(10):
            fields: dict[str, str] = {}
            async for line in self._lines:
                if line == "":
                    return fields
                name, _, value = line.partition(":")
                fields[name or "comment"] = value.strip()
        raise EOFError

    async def events(self, count: int) -> list[Any]:
        """The data of the next events."""
        found: list[Any] = []
        while len(found) < count:
            fields = await self.next()
            if fields.get("event", "stream.").startswith("stream.") is False:
                found.append(json.loads(fields["data"]))
        return found

    async def until_it_ends(self) -> None:
        """Read on; EOFError or TransportError at the end."""
        while True:
            await self.next()


@asynccontextmanager
async def a_stream(client: httpx.AsyncClient, query: str = "", **headers: str) -> AsyncIterator[Stream]:
    async with client.stream("GET", f"/v1/events{query}", headers={"Accept": "text/event-stream", **headers}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as there:
        yield there


def a_client(served: Served, user: str = "alice", project: str = "shop") -> httpx.AsyncClient:
    token = served.platform.identity.issue(user, project)
    return httpx.AsyncClient(base_url=served.url, headers={"X-Auth-Token": token}, timeout=10)


async def test_a_stream_begins_now_and_goes_on_live(served: Served) -> None:
    async with a_client(served) as alice:
        await alice.post("/v1/clusters", json={"name": "old"})
        async with a_stream(alice) as stream:
            opened = await stream.next()
            assert (opened["event"], opened["id"]) == ("stream.open", "1")
            await alice.post("/v1/clusters", json={"name": "new"})
            (event,) = await stream.events(1)
            assert event["message"] == "Cluster new is wanted as of generation 1"
            story = Story(served.platform, await announced_spec(served.platform))
            await story.operation(OperationState.RUNNING, 5)
            (event,) = await stream.events(1)
            assert (event["type"], event["operation_id"]) == ("operation.progressed", story.spec.operation_id)
            assert event["message"] == "Operation create cluster is running at 5 %"


async def test_a_silent_stream_is_kept_open_with_comments(served: Served) -> None:
    async with a_client(served) as alice, a_stream(alice) as stream:
        assert (await stream.next())["event"] == "stream.open"
        assert (await stream.next()) == {"comment": "still here"}


async def test_a_stream_is_resumed_where_it_broke_off(served: Served) -> None:
    async with a_client(served) as alice:
        for name in ("a", "b", "c"):
            await alice.post("/v1/clusters", json={"name": name})
        async with a_stream(alice, **{"Last-Event-ID": "1"}) as stream:
            assert [event["id"] for event in await stream.events(2)] == [2, 3]
        async with a_stream(alice, "?after=0&cluster=b") as stream:
            assert [event["id"] for event in await stream.events(1)] == [2]
        for wrong in ("yesterday", "-1", "9" * 19 + "0"):
            answer = await alice.get("/v1/events", headers={"Last-Event-ID": wrong})
            assert (answer.json()["code"], answer.json()["errors"][0]["field"]) == ("invalid_field", "Last-Event-ID")


@pytest.mark.parametrize("end", ["it expires", "it is revoked"])
async def test_a_stream_ends_with_the_token_that_opened_it(served: Served, end: str) -> None:
    identity = served.platform.identity
    token = identity.issue(lasts=timedelta(seconds=1) if end == "it expires" else timedelta(hours=1))
    async with httpx.AsyncClient(base_url=served.url, headers={"X-Auth-Token": token}, timeout=10) as alice:
        async with a_stream(alice) as stream:
            assert (await stream.next())["event"] == "stream.open"
            if end == "it is revoked":
                identity.revoke(token)
                # as after the five minutes for which it is believed
                served.platform.gateway.gatekeeper.forget_all()
            async with asyncio.timeout(10):
                with pytest.raises(EOFError):
                    await stream.until_it_ends()
        assert (await alice.get("/v1/events")).status_code == 401


async def test_a_keystone_that_is_away_ends_no_stream(served: Served) -> None:
    async with a_client(served) as alice, a_stream(alice) as stream:
        assert (await stream.next())["event"] == "stream.open"
        served.platform.identity.away = True
        served.platform.gateway.gatekeeper.forget_all()
        for _ in range(3):
            assert (await stream.next()) == {"comment": "still here"}


async def test_what_another_replica_records_is_seen_here_too(tmp_path: Path) -> None:
    async with serving(tmp_path) as one, serving(tmp_path) as other:
        assert one.url != other.url
        async with a_client(one) as here, a_client(other) as there, a_stream(here, "?after=0") as stream:
            assert (await stream.next())["event"] == "stream.open"
            await there.post("/v1/clusters", json={"name": "shop"})
            (event,) = await stream.events(1)
            assert event["type"] == "cluster.spec_changed"


async def test_nobody_hears_of_another_project(served: Served) -> None:
    async with a_client(served) as alice, a_client(served, "bob", "bank") as bob, a_stream(bob, "?after=0") as stream:
        await alice.post("/v1/clusters", json={"name": "secret"})
        await bob.post("/v1/clusters", json={"name": "mine"})
        (event,) = await stream.events(1)
        assert event["data"]["name"] == "mine"


async def test_streams_end_when_the_service_stops(tmp_path: Path) -> None:
    async with AsyncExitStack() as later:
        async with serving(tmp_path) as served:
            client = await later.enter_async_context(a_client(served))
            stream = await later.enter_async_context(a_stream(client))
            assert (await stream.next())["event"] == "stream.open"
        with pytest.raises((EOFError, httpx.TransportError)):
            await stream.until_it_ends()


async def test_pages_of_events_for_those_who_ask_for_json(platform: Platform, alice: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        await alice.post("/v1/clusters", json={"name": name})
    first = (await alice.get("/v1/events?limit=2", headers=JSON)).json()
    assert ([event["id"] for event in first["items"]], first["next"]) == ([1, 2], "2")
    rest = (await alice.get("/v1/events?limit=2&after=2", headers=JSON)).json()
    assert ([event["id"] for event in rest["items"]], rest["next"]) == ([3], None)


async def test_events_are_told_in_sentences_with_names(platform: Platform, alice: httpx.AsyncClient) -> None:
    small = [{"name": role, "role": role, "count": 1} for role in ("etcd", "controller", "worker")]
    await alice.post("/v1/clusters", json={"name": "shop", "pools": small})
    story = Story(platform, await announced_spec(platform))
    await story.becomes_ready()
    told = [event["message"] for event in (await alice.get("/v1/events?limit=500", headers=JSON)).json()["items"]]
    for sentence in (
        "Cluster shop is wanted as of generation 1",
        "Infrastructure is building",
        "Pool worker: 1 of 1 nodes named",
        "Node shop-worker-00001 is configuring",
        "Node shop-worker-00001 is healthy",
        "Cluster is healthy, 0 of 0 nodes ready",
        "Operation create cluster is succeeded at 100 %",
    ):
        assert sentence in told


async def test_who_comes_back_too_late_is_told_of_the_gap(served: Served) -> None:
    async with a_client(served) as alice:
        for name in ("a", "b", "c"):
            await alice.post("/v1/clusters", json={"name": name})
        async with served.platform.service.database.transaction() as session:
            await session.execute(delete(FeedRow).where(FeedRow.id < 3))
        async with a_stream(alice, "?after=1") as stream:
            assert (await stream.next())["event"] == "stream.gap"
            assert [event["id"] for event in await stream.events(1)] == [3]
        async with a_stream(alice, "?after=2") as stream:
            assert (await stream.next())["event"] == "stream.open"
        async with served.platform.service.database.transaction() as session:
            await session.execute(delete(FeedRow))
        async with a_stream(alice, "?after=1") as stream:
            assert (await stream.next())["event"] == "stream.gap"
