"""The control API: look at machines and break them, over HTTP."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from slipway_sandbox.machines.cli import serve_app
from slipway_sandbox.machines.control import build_control
from slipway_sandbox.machines.runner import MachineRunner
from slipway_sandbox.machines.servers import CloudServer
from slipway_sandbox.machines.testing.plans import Layout
from slipway_sandbox.machines.testing.slipway import FakeServers, FakeSlipway
from slipway_sandbox.machines.world import Pace, World

USER_DATA = FakeSlipway(Layout({}, {}, {}, ""), url="https://127.0.0.1:1").user_data("n1")
SERVER = CloudServer("s1", "n1", "ACTIVE", "zone-1", "127.77.250.3", USER_DATA, boots=1)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    runner = MachineRunner(FakeServers({"s1": SERVER}), World(pace=Pace(boot=0.0)))
    await runner.look()
    async with serve_app(build_control(runner), 0) as url, aiohttp.ClientSession(url) as session:
        yield session
    await runner.close()


async def test_machines_are_listed_and_shown_by_id_and_name(http: aiohttp.ClientSession) -> None:
    async with http.get("/machines") as answer:
        listed = (await answer.json())["machines"]
    assert [entry["name"] for entry in listed] == ["n1"]
    for name in ("s1", "n1"):
        async with http.get(f"/machines/{name}") as answer:
            assert (await answer.json())["server_id"] == "s1"


async def test_secrets_are_not_shown(http: aiohttp.ClientSession) -> None:
    async with http.get("/machines/n1") as answer:
        assert "token of n1" not in await answer.text()


async def test_a_machine_is_killed_and_started(http: aiohttp.ClientSession) -> None:
    async with http.post("/machines/n1/stop") as answer:
        assert (await answer.json())["dead"]
    async with http.post("/machines/n1/start") as answer:
        assert not (await answer.json())["dead"]


async def test_faults_are_set_and_shown(http: aiohttp.ClientSession) -> None:
    wanted = {"partitioned": True, "slow_by": 1.5, "clock_skew": -90.0}
    async with http.post("/machines/n1/faults", json=wanted) as answer:
        assert (await answer.json())["faults"] == wanted


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        pytest.param("/machines/no/stop", {}, 404, "no machine has", id="unknown machine"),
        pytest.param("/machines/n1/faults", {"partitioned": "yes"}, 400, "known are", id="wrong type"),
        pytest.param("/machines/n1/faults", {"speed": 1}, 400, "known are", id="unknown fault"),
        pytest.param("/machines/n1/faults", [], 400, "not a JSON object", id="no object"),
        pytest.param("/machines/n1/start", {"what": "no.service"}, 404, "not found", id="unknown unit"),
        pytest.param("/machines/n1/stop", {"what": "no.service"}, 404, "not found", id="unknown unit to stop"),
    ],
)
async def test_what_is_wrong_is_said(
    http: aiohttp.ClientSession, path: str, body: object, status: int, says: str
) -> None:
    async with http.post(path, json=body) as answer:
        assert answer.status == status
        assert says in (await answer.json())["error"]
