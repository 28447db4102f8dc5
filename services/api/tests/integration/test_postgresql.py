"""Two replicas on one PostgreSQL: requests and events at the same time, where SQLite would make them queue."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from slipway_api.feed import FeedFilter
from slipway_api.store import metadata
from slipway_api.testing_platform import Platform, platform_on
from slipway_api.testing_story import Story, announced_spec
from slipway_chassis.database import Database
from slipway_chassis.testing import a_postgresql_database
from slipway_contracts.operations import OperationState

pytestmark = pytest.mark.integration


@pytest.fixture
async def replicas() -> AsyncIterator[tuple[Platform, Platform]]:
    url = os.environ.get("POSTGRES_URL")
    if url is None:
        pytest.skip("no PostgreSQL: run `make test`, or set POSTGRES_URL=postgresql://user@host:5432/postgres")
    async with a_postgresql_database(url, metadata) as database:
        second = Database(database.engine.url.render_as_string(hide_password=False))
        try:
            yield platform_on(database), platform_on(second)
        finally:
            await second.close()


async def test_one_name_is_given_once(replicas: tuple[Platform, Platform]) -> None:
    clients = [each.client(each.identity.issue()) for each in replicas for _ in range(3)]
    answers = await asyncio.gather(*(client.post("/v1/clusters", json={"name": "shop"}) for client in clients))
    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 5
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"name_taken"}


async def test_one_idempotency_key_makes_one_cluster(replicas: tuple[Platform, Platform]) -> None:
    key = {"Idempotency-Key": "once"}
    clients = [each.client(each.identity.issue()) for each in replicas for _ in range(3)]
    answers = await asyncio.gather(
        *(client.post("/v1/clusters", json={"name": "shop"}, headers=key) for client in clients)
    )
    assert [answer.status_code for answer in answers] == [202] * 6, [answer.text for answer in answers]
    assert len({answer.content for answer in answers}) == 1


async def test_of_changes_at_once_exactly_one_wins_each_time(replicas: tuple[Platform, Platform]) -> None:
    one, other = (each.client(each.identity.issue()) for each in replicas)
    await one.post("/v1/clusters", json={"name": "shop"})
    path, condition = "/v1/clusters/shop/pools/worker", {"If-Match": '"1"'}
    answers = await asyncio.gather(
        *(
            client.patch(path, json={"count": 4 + number}, headers=condition)
            for number, client in enumerate((one, other) * 3)
        )
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses[0] == 202
    assert set(statuses[1:]) <= {409, 412}
    assert (await one.get("/v1/clusters/shop")).json()["generation"] == 2


async def test_a_reader_who_follows_misses_no_event_of_either_replica(replicas: tuple[Platform, Platform]) -> None:
    one, other = replicas
    async with one.client(one.identity.issue()) as alice:
        await alice.post("/v1/clusters", json={"name": "shop"})
    story = Story(one, await announced_spec(one))
    elsewhere = Story(other, story.spec)
    other.elsewhere._sequence = 1_000_000
    await story.names_nodes()

    async def tell(teller: Story, count: int) -> None:
        for percent in range(count):
            await teller.operation(OperationState.RUNNING, percent % 100, step=f"{percent}")

    async def health(teller: Story, count: int) -> None:
        for number in range(count):
            await teller.addon(f"addon-{number}", "installing")  # type: ignore[arg-type]

    seen: list[int] = []

    async def follow() -> None:
        wanted = FeedFilter("id-of-shop", ("sandbox",))
        async for row in one.gateway.feed.follow(wanted, 0, heartbeat=5):
            assert row is not None, "no event came for long"
            seen.append(row.id or 0)
            if len(seen) == total:
                return

    total = 1 + len(story.spec.pools) + 40 + 40
    async with asyncio.timeout(60):
        await asyncio.gather(follow(), tell(story, 40), health(elsewhere, 40))
    assert seen == sorted(seen)
    assert len(set(seen)) == total
