"""The cloud on a port, its load balancers on their VIPs, and the command that runs it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from slipway_sandbox.cloud.faults import Effect, Fault
from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.realize import Backend, Check, probe
from slipway_sandbox.cloud.sandbox import Sandbox
from slipway_sandbox.cloud.testing import Tenant

AT_ONCE = CloudTimes(
    balancer_create=timedelta(0),
    balancer_update=timedelta(0),
    balancer_delete=timedelta(0),
)
ROOT = "/load-balancer/v2.0/lbaas"


async def until(look: Callable[[], Any], what: str) -> Any:
    for _ in range(200):
        if found := look():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"waited in vain until {what}")


async def test_a_login_of_clouds_yaml_gets_a_token_over_http(tmp_path: Path) -> None:
    async with Sandbox.start(tmp_path) as sandbox, aiohttp.ClientSession() as http:
        assert sandbox.clouds_yaml is not None
        assert stat.S_IMODE(sandbox.clouds_yaml.stat().st_mode) == 0o600
        auth = yaml.safe_load(sandbox.clouds_yaml.read_text())["clouds"]["sandbox"]["auth"]
        domain = {"id": "default"}
        user = {"name": auth["username"], "password": auth["password"], "domain": domain}
        body = {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": user}},
                "scope": {"project": {"name": auth["project_name"], "domain": domain}},
            }
        }
        async with http.post(f"{auth['auth_url']}/auth/tokens", json=body) as response:
            assert (response.status, "X-Subject-Token" in response.headers) == (201, True)
            catalog = (await response.json())["token"]["catalog"]
        assert all(end["url"].startswith(sandbox.origin) for item in catalog for end in item["endpoints"])


@pytest.mark.parametrize("effect", [Effect.REFUSE, Effect.CUT, Effect.TIMEOUT_AFTER])
async def test_broken_answers_are_broken_on_the_wire(effect: Effect) -> None:
    async with Sandbox.start() as sandbox, aiohttp.ClientSession() as http:
        # Until cleared: aiohttp repeats a GET whose connection was closed.
        sandbox.cloud.arm(Fault(effect, "identity", count=None))
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            async with http.get(f"{sandbox.origin}/identity/v3", timeout=aiohttp.ClientTimeout(0.5)) as response:
                await response.read()
        sandbox.cloud.faults.clear()
        async with http.get(f"{sandbox.origin}/identity/v3") as response:
            assert response.status == 200


async def test_a_delay_is_waited_on_the_wire() -> None:
    async with Sandbox.start() as sandbox, aiohttp.ClientSession() as http:
        sandbox.cloud.arm(Fault(Effect.DELAY, "identity", seconds=0.3))
        started = asyncio.get_running_loop().time()
        async with http.get(f"{sandbox.origin}/identity/v3") as response:
            assert response.status == 200
        assert asyncio.get_running_loop().time() - started >= 0.3


@asynccontextmanager
async def backend(address: str, name: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(name)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, address, 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


def make(tenant: Tenant, kind: str, **fields: Any) -> str:
    response = tenant.ask("POST", f"{ROOT}/{kind}s", {kind: fields})
    assert response.status == 201, response.body
    return str(response.json()[kind]["id"])


async def ask_vip(address: str, port: int) -> bytes:
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 5)
    writer.write(b"?")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def answers(vip: str, wanted: set[bytes]) -> None:
    """Wait until a round of connections is answered by exactly these members."""
    heard: set[bytes] = set()
    for _ in range(100):
        heard = {await ask_vip(vip, 16443) for _ in range(4)}
        if heard == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"heard {heard} instead of {wanted}")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers on all of 127.0.0.0/8")
async def test_a_vip_serves_the_members_that_are_healthy() -> None:
    async with Sandbox.start(times=AT_ONCE, realize=True) as sandbox:
        tenant = Tenant(sandbox.cloud)
        port = tenant.a_port()
        vip = port["fixed_ips"][0]["ip_address"]
        balancer = make(tenant, "loadbalancer", vip_port_id=port["id"])
        listener = make(tenant, "listener", loadbalancer_id=balancer, protocol="TCP", protocol_port=16443)
        pool = make(tenant, "pool", listener_id=listener, protocol="TCP", lb_algorithm="ROUND_ROBIN")
        make(tenant, "healthmonitor", pool_id=pool, type="TCP", delay=0.1, timeout=0.5, max_retries=1)

        def states() -> dict[str, str]:
            members = tenant.get(f"{ROOT}/pools/{pool}/members")["members"]
            return {member["address"]: member["operating_status"] for member in members}

        async with backend("127.77.200.2", b"two") as second:
            async with backend("127.77.200.1", b"one") as first:
                for address, number in (("127.77.200.1", first), ("127.77.200.2", second)):
                    body = {"member": {"address": address, "protocol_port": number}}
                    assert tenant.ask("POST", f"{ROOT}/pools/{pool}/members", body).status == 201
                await until(lambda: _listens(vip), "the VIP listens")
                await until(lambda: len(states()) == 2, "both members are known")
                await answers(vip, {b"one", b"two"})

            await until(lambda: states()["127.77.200.1"] == "ERROR", "the dead member is noticed")
            assert states()["127.77.200.2"] == "ONLINE"
            shown = tenant.get(f"{ROOT}/loadbalancers/{balancer}")["loadbalancer"]
            assert shown["operating_status"] == "DEGRADED"
            await answers(vip, {b"two"})
        tenant.ask("DELETE", f"{ROOT}/loadbalancers/{balancer}?cascade=true")
        await until(lambda: not _listens(vip), "the VIP is closed")


def _listens(vip: str) -> bool:
    hexed = "".join(f"{int(part):02X}" for part in reversed(vip.split(".")))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1] == f"{hexed}:{16443:04X}" and line.split()[3] == "0A" for line in lines)


async def test_the_command_serves_says_how_to_get_in_and_stops_on_a_signal(tmp_path: Path) -> None:
    arguments = ("-m", "slipway_sandbox", "cloud", "--port", "0", "--state-dir", str(tmp_path), "--no-realize")
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        origin = line.split()[-1]
        async with aiohttp.ClientSession() as http, http.get(f"{origin}/_control/servers") as response:
            assert json.loads(await response.read()) == {"servers": []}
        config = yaml.safe_load((tmp_path / "clouds.yaml").read_text())
        assert config["clouds"]["sandbox"]["auth"]["auth_url"] == f"{origin}/identity/v3"
    finally:
        os.kill(process.pid, signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("answer", "expected", "healthy"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nok", "200", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "200-204", True),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "200,202", False),
        (b"nonsense", "200", False),
        (b"", "200", False),
    ],
    ids=["ok", "in a range", "an error", "no http", "nothing"],
)
async def test_an_http_monitor_wants_an_expected_status(answer: bytes, expected: str, healthy: bool) -> None:
    async with backend("127.0.0.1", answer) as port:
        member = Backend("id", "127.0.0.1", port, "127.0.0.1", port, weight=1, usable=True)
        check = Check("HTTP", delay=1, timeout=2, path="/readyz", expected=expected)
        assert await probe(member, check) is healthy


async def test_a_monitor_gives_up_on_a_member_that_does_not_answer() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    member = Backend("id", "127.0.0.1", port, "127.0.0.1", port, weight=1, usable=True)
    assert not await probe(member, Check("HTTP", delay=1, timeout=0.2, path="/", expected="200"))
    server.close()
    assert not await probe(member, Check("TCP", delay=1, timeout=0.2, path="/", expected="200"))
