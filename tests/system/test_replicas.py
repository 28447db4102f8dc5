"""Two replicas of the api on one database: each shows what was changed through the other."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from slipway_platform.layout import free_ports
from slipway_platform.platform import Platform
from slipway_platform.processes import Process, ReadyCheck, wait_until
from slipway_platform.testing import User, events_in

pytestmark = pytest.mark.timeout(180)
STREAM = {"Accept": "text/event-stream"}


@contextmanager
def second_api(platform: Platform) -> Iterator[str]:
    """The address of another replica beside the platform's own."""
    first = platform.processes["api"]
    port = free_ports().api
    settings = {**first.environment, "SLIPWAY_API_HTTP_PORT": str(port)}
    replica = Process("api-2", first.command, settings, platform.layout.logs / "api-2.log", platform.folder)
    replica.start()
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until([ReadyCheck(replica, "ready", lambda: answers(f"{url}/readyz"))], 60)
        yield url
    finally:
        replica.stop()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def change(user: User, endpoint: str, cluster: str) -> str:
    """Change how long a worker may be unready; the operation's id."""
    seconds = 300 + secrets.randbelow(1000) / 10
    answer = user.http.patch(
        f"{endpoint}/v1/clusters/{cluster}/pools/worker", json={"health": {"unready_after": seconds}}
    )
    return str(answer.raise_for_status().json()["operation"]["id"])


def test_each_replica_streams_what_was_changed_through_the_other(platform: Platform, user: User, standing: str) -> None:
    with second_api(platform) as second:
        for writing, watching in ((platform.endpoint, second), (second, platform.endpoint)):
            with user.http.stream(
                "GET", f"{watching}/v1/events", params={"cluster": standing}, headers=STREAM
            ) as stream:
                events = events_in(stream)
                assert "after" in next(events)
                operation = change(user, writing, standing)
                of_operation = (each["type"] for each in events if each["operation_id"] == operation)
                assert next(of_operation) == "cluster.spec_changed"
                assert "operation.succeeded" in of_operation
