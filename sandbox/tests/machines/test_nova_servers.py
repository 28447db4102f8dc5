"""Servers by Nova's admin API, against the emulated cloud over HTTP, and in its process: both see the same."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from slipway_sandbox.cloud.sandbox import Sandbox
from slipway_sandbox.cloud.testing import SteppingClock, Tenant
from slipway_sandbox.machines.servers import CloudAway, CloudServer, NovaServers, SandboxServers

USER_DATA = "#cloud-config\n{}\n"
SERVERS = "/compute/v2.1/servers"


@dataclass
class Views:
    """A tenant, and the two ways to look at her servers. Nova's blocks, and its server is this very loop: a thread."""

    tenant: Tenant
    clock: SteppingClock
    nova: NovaServers
    sandbox: SandboxServers

    def create(self) -> str:
        server = self.tenant.a_server(user_data=base64.b64encode(USER_DATA.encode()).decode())
        self.clock.step(10)
        return server

    def act(self, method: str, path: str, body: dict[str, object] | None = None) -> None:
        assert self.tenant.ask(method, path, body).status < 300
        self.clock.step(10)

    async def see(self) -> list[CloudServer]:
        seen = await asyncio.to_thread(self.nova.all)
        assert seen == self.sandbox.all()
        return seen

    async def is_gone(self, server: str) -> bool:
        gone = await asyncio.to_thread(self.nova.is_gone, server)
        assert gone == self.sandbox.is_gone(server)
        return gone


@pytest.fixture
async def views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Views]:
    clock = SteppingClock()
    async with Sandbox.start(tmp_path, now=clock.now) as sandbox:
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(sandbox.clouds_yaml))
        nova = await asyncio.to_thread(NovaServers, "sandbox-admin")
        yield Views(Tenant(sandbox.cloud), clock, nova, SandboxServers(sandbox.cloud))
        nova.close()


async def test_servers_of_all_projects_are_seen_with_user_data_and_address(views: Views) -> None:
    views.create()
    (server,) = await views.see()
    assert (server.name, server.status, server.user_data, server.boots) == ("a-server", "ACTIVE", USER_DATA, 1)
    assert IPv4Address(server.address) in IPv4Network("127.0.0.0/8")


async def test_every_boot_is_counted(views: Views) -> None:
    server = views.create()
    await views.see()
    views.act("POST", f"{SERVERS}/{server}/action", {"reboot": {"type": "HARD"}})
    (seen,) = await views.see()
    assert (seen.status, seen.boots) == ("ACTIVE", 2)


async def test_what_was_deleted_is_gone_and_what_was_not_is_not(views: Views) -> None:
    server = views.create()
    assert not await views.is_gone(server)
    views.act("DELETE", f"{SERVERS}/{server}")
    assert await views.is_gone(server)
    assert await views.see() == []


async def test_a_cloud_that_answers_with_errors_is_away(views: Views) -> None:
    views.tenant.cloud.take_down("compute")
    with pytest.raises(CloudAway):
        await asyncio.to_thread(views.nova.all)
    with pytest.raises(CloudAway):
        await asyncio.to_thread(views.nova.is_gone, "00000000-0000-0000-0000-000000000000")
