"""What a server's state asks of its machine, and what the runner does with what the cloud says or does not say."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from slipway_sandbox.machines.cloud_init import read_cloud_config
from slipway_sandbox.machines.runner import MachineRunner, Step, decide_step
from slipway_sandbox.machines.servers import CloudServer
from slipway_sandbox.machines.testing.plans import Layout
from slipway_sandbox.machines.testing.slipway import FakeServers, FakeSlipway
from slipway_sandbox.machines.world import Pace, World

USER_DATA = FakeSlipway(Layout({}, {}, {}, ""), url="https://127.0.0.1:1").user_data("n1")
SERVER = CloudServer("s1", "n1", "ACTIVE", "zone-1", "127.77.250.2", USER_DATA, boots=1)


@pytest.mark.parametrize(
    ("status", "boots", "exists", "powered", "expected"),
    [
        pytest.param("ACTIVE", 1, False, False, Step.BUILD, id="a new server"),
        pytest.param("BUILD", 0, False, False, Step.NONE, id="still building"),
        pytest.param("ERROR", 0, False, False, Step.NONE, id="a failed build"),
        pytest.param("ACTIVE", 1, True, True, Step.NONE, id="runs"),
        pytest.param("ACTIVE", 2, True, True, Step.REBOOT, id="rebooted"),
        pytest.param("SHUTOFF", 1, True, True, Step.POWER_OFF, id="shut off"),
        pytest.param("SHUTOFF", 1, True, False, Step.NONE, id="is off"),
        pytest.param("ACTIVE", 2, True, False, Step.POWER_ON, id="started again"),
        pytest.param("ERROR", 1, True, True, Step.NONE, id="a server in ERROR runs on"),
    ],
)
def test_steps(status: str, boots: int, exists: bool, powered: bool, expected: Step) -> None:
    server = replace(SERVER, status=status, boots=boots)
    assert decide_step(server, exists=exists, powered=powered, known_boots=1) is expected


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        pytest.param(USER_DATA, True, id="Slipway's"),
        pytest.param("#!/bin/sh\n", False, id="a script"),
        pytest.param("#cloud-config\nwrite_files: [{path: /etc/motd}]\n", False, id="somebody else's"),
        pytest.param("#cloud-config\n[", False, id="no YAML"),
        pytest.param("", False, id="none"),
    ],
)
def test_only_slipways_user_data_makes_a_machine(text: str, ours: bool) -> None:
    assert (read_cloud_config(text) is not None) == ours


@pytest.fixture
async def runner() -> AsyncIterator[MachineRunner]:
    made = MachineRunner(FakeServers({"s1": SERVER}), World(pace=Pace(boot=0.0)), exclude_zones=["real"])
    yield made
    await made.close()


def servers(runner: MachineRunner) -> FakeServers:
    found = runner._servers
    assert isinstance(found, FakeServers)
    return found


async def test_a_machine_lives_as_long_as_its_server(runner: MachineRunner) -> None:
    await runner.look()
    assert runner.find("n1").powered
    servers(runner).servers["s1"] = replace(SERVER, status="SHUTOFF")
    await runner.look()
    assert not runner.find("n1").powered
    del servers(runner).servers["s1"]
    await runner.look()
    assert runner.machines == {}


async def test_a_reboot_is_a_new_boot(runner: MachineRunner) -> None:
    await runner.look()
    before = runner.find("n1").host.boot_id()
    servers(runner).servers["s1"] = replace(SERVER, boots=2)
    await runner.look()
    after = runner.find("n1").host.boot_id()
    await runner.look()
    assert before != after == runner.find("n1").host.boot_id()


async def test_a_cloud_that_is_away_changes_nothing(runner: MachineRunner) -> None:
    await runner.look()
    servers(runner).away = True
    await runner.look()
    assert runner.find("n1").powered


async def test_a_list_without_the_server_is_no_proof(runner: MachineRunner) -> None:
    await runner.look()
    servers(runner).empty_list = True
    await runner.look()
    assert runner.find("n1").powered


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(replace(SERVER, zone="real"), id="of a zone that really boots"),
        pytest.param(replace(SERVER, user_data="#!/bin/sh"), id="of somebody else"),
        pytest.param(replace(SERVER, address=""), id="without an address"),
    ],
)
async def test_other_servers_are_left_alone(runner: MachineRunner, server: CloudServer) -> None:
    servers(runner).servers["s1"] = server
    await runner.look()
    assert runner.machines == {}


async def test_a_killed_machine_is_off_until_the_cloud_reboots_it(runner: MachineRunner) -> None:
    await runner.look()
    await runner.find("n1").kill()
    await runner.look()
    assert runner.find("n1").dead
    servers(runner).servers["s1"] = replace(SERVER, boots=2)
    await runner.look()
    assert not runner.find("n1").dead
