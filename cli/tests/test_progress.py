"""What is drawn, and how a stream is followed over a broken connection."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from rich.console import Console

from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.output import age, plain
from slipway_cli.progress import MOST_NODES, outcome, picture
from slipway_cli.session import Login
from slipway_cli.stream import Follower

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def an_operation(**changes: Any) -> dict[str, Any]:
    operation = {
        "id": "o-1", "kind": "create_cluster", "cluster": "shop", "state": "running", "percent": 40, "cause": None,
        "requested_at": (NOW - timedelta(seconds=75)).isoformat(), "finished_at": None,
        "steps": [
            {"name": "i", "title": "Infrastructure", "state": "done", "message": None},
            {"name": "e", "title": "etcd", "state": "running", "message": "2 of 5"},
            {"name": "w", "title": "Workers", "state": "pending", "message": None},
        ],
    }  # fmt: skip
    return operation | changes


def a_node(name: str, **changes: Any) -> dict[str, Any]:
    node = {
        "name": name, "role": "worker", "state": "booting", "step": "Boot", "percent": 30, "reason": None,
        "created_at": (NOW - timedelta(seconds=12)).isoformat(),
    }  # fmt: skip
    return node | changes


def drawn(operation: dict[str, Any], nodes: list[dict[str, Any]]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(picture(operation, nodes, NOW))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def test_a_picture_shows_steps_nodes_ages_and_causes() -> None:
    cause = {"code": "QuotaExceeded", "message": "The quota is used up.", "whose_move": "user"}
    failed = a_node("shop-worker-b", state="failed", reason=cause)
    text = drawn(
        an_operation(state="blocked", cause=cause),
        [a_node("shop-worker-a", state="ready"), failed, a_node("shop-etcd-c")],
    )
    assert "create cluster shop" in text
    assert "40 % blocked 1m15s" in text
    assert " ✓ Infrastructure" in text
    assert " ● etcd  2 of 5" in text
    assert " The quota is used up. Your move." in text
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("shop-")]
    assert rows == ["shop-worker-b", "shop-etcd-c", "shop-worker-a"], "what needs a look comes first"
    assert "Ctrl-C detaches" in text


def test_a_large_pool_is_summed_up() -> None:
    text = drawn(an_operation(), [a_node(f"shop-worker-{number:03d}") for number in range(MOST_NODES + 70)])
    assert sum(line.startswith("shop-worker") for line in text.splitlines()) == MOST_NODES
    assert "and 70 more" in text


def test_the_outcome_is_one_sentence() -> None:
    ended = an_operation(state="succeeded", finished_at=NOW.isoformat())
    assert outcome(ended) == "Create cluster shop succeeded after 1m15s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (0, "0s"), (59, "59s"), (190, "3m10s"), (7500, "2h5m"), (400000, "4d")]
)
def test_ages_are_short_words(seconds: int, text: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (["a", "b"], "a, b"),
        ({"a": 1}, "a=1"),
        ({"code": "X", "message": "Because."}, "Because."),
    ],
)
def test_values_fit_into_one_line(value: Any, text: str) -> None:
    assert plain(value) == text


def sse(identifier: int) -> bytes:
    return f"id: {identifier}\nevent: node.created\ndata: {json.dumps({'id': identifier})}\n\n".encode()


class Flaky(httpx.AsyncBaseTransport):
    """Answers as it was told to, one connection after the other, and remembers what was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self._answers = list(answers)
        self.resumed_at: list[str | None] = []
        self.tokens: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.resumed_at.append(request.headers.get("Last-Event-ID"))
        self.tokens.append(request.headers["X-Auth-Token"])
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def a_stream(*identifiers: int, opened: int = 0) -> httpx.Response:
    start = f"id: {opened}\nevent: stream.open\ndata: {{}}\n\n: still here\n\n".encode()
    return httpx.Response(200, content=start + b"".join(sse(each) for each in identifiers))


async def follow(
    transport: Flaky, count: int, patience: float = 60, renew: Callable[[], str] = lambda: "new"
) -> list[int]:
    login = Login("http://api", token=lambda: "old", renew=renew)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        events = Follower(http, login, {}, pause=0, patience=patience).events()
        found = [(await anext(events))["id"] for _ in range(count)]
        await events.aclose()
    return found


async def test_a_broken_stream_is_resumed_after_the_last_event_seen() -> None:
    problem = httpx.Response(503, json={"title": "Away", "detail": "Away."})
    transport = Flaky(a_stream(4, 5), httpx.ConnectError("refused"), problem, a_stream(6))
    assert await follow(transport, 3) == [4, 5, 6]
    assert transport.resumed_at == [None, "5", "5", "5"]


async def test_a_stream_that_broke_before_its_first_event_leaves_no_gap() -> None:
    transport = Flaky(a_stream(opened=7), a_stream(8))
    assert await follow(transport, 1) == [8]
    assert transport.resumed_at == [None, "7"]


async def test_an_expired_token_is_renewed_in_the_middle_of_a_stream() -> None:
    refused = httpx.Response(401, json={"title": "Expired", "detail": "Expired."})
    transport = Flaky(a_stream(1), refused, a_stream(2))
    assert await follow(transport, 2) == [1, 2]
    assert transport.tokens == ["old", "old", "new"]


async def test_a_token_that_is_refused_again_after_its_renewal_ends_the_command() -> None:
    refused = [httpx.Response(401, json={"title": "No", "detail": "Not valid."}) for _ in range(3)]
    transport = Flaky(a_stream(1), *refused)
    with pytest.raises(CommandFailed) as failed:
        await follow(transport, 2)
    assert failed.value.code is Exit.AUTH
    assert transport.tokens == ["old", "old", "new"]


async def test_a_keystone_that_is_away_when_a_token_has_to_be_renewed_is_waited_for() -> None:
    answers: list[CommandFailed | str] = [CommandFailed(Exit.UNREACHABLE, "Keystone does not answer."), "new"]

    def renew() -> str:
        answer = answers.pop(0)
        if isinstance(answer, CommandFailed):
            raise answer
        return answer

    refused = [httpx.Response(401, json={"title": "Expired", "detail": "Expired."}) for _ in range(2)]
    transport = Flaky(a_stream(1), *refused, a_stream(2))
    assert await follow(transport, 2, renew=renew) == [1, 2]
    assert transport.tokens == ["old", "old", "old", "new"]


class Silent(httpx.AsyncByteStream):
    """A stream that is open for a time and then breaks off."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"id: 3\nevent: stream.open\ndata: {}\n\n"
        await asyncio.sleep(0.6)
        raise httpx.ReadError("the connection broke")


async def test_the_api_counts_as_away_from_the_end_of_a_stream_however_silent_it_was() -> None:
    transport = Flaky(httpx.Response(200, stream=Silent()), httpx.ConnectError("refused"), a_stream(4))
    assert await follow(transport, 1, patience=0.5) == [4]


async def test_an_api_that_stays_away_ends_the_command() -> None:
    transport = Flaky(*(httpx.ConnectError("refused") for _ in range(1000)))
    with pytest.raises(CommandFailed) as failed:
        await follow(transport, 1, patience=0)
    assert failed.value.code is Exit.UNREACHABLE


async def test_a_stream_that_is_refused_is_not_asked_for_again() -> None:
    transport = Flaky(httpx.Response(404, json={"title": "No", "detail": "There is no cluster."}))
    with pytest.raises(CommandFailed) as failed:
        await follow(transport, 1)
    assert failed.value.code is Exit.NOT_FOUND
