"""Two replicas of the api on one database: each shows what was changed through the other."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from slipway_platform.platform import Platform
from slipway_platform.processes import wait_until
from slipway_platform.testing import User, events_in

pytestmark = pytest.mark.timeout(180)
STREAM = {"Accept": "text/event-stream"}


@contextmanager
def second_api(platform: Platform) -> Iterator[str]:
    """The address of another replica beside the platform's own."""
    replica = platform.start_service("api", replica=2)
    try:
        wait_until([platform.ready_check("api", 2)], 60)
        yield platform.address("api", 2)
    finally:
        replica.stop()


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
