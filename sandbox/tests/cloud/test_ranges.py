"""Two sandboxes on one host never share an address."""

from __future__ import annotations

import argparse
import os
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network

import pytest

from slipway_sandbox.cloud.cli import add_arguments
from slipway_sandbox.cloud.ranges import RANGES, RangeTaken, held_range
from slipway_sandbox.cloud.sandbox import Sandbox
from slipway_sandbox.cloud.testing import Tenant

OURS, THEIRS = (IPv4Network(f"127.{second}.{os.getpid() % 250}.0/24") for second in (200, 201))
"""Two that no sandbox takes by itself, nor this test in another process."""


def test_two_sandboxes_take_two_ranges() -> None:
    with held_range(None) as one, held_range(None) as other:
        assert {one, other} < set(RANGES)
        assert not one.overlaps(other)


def test_a_range_is_held_until_its_sandbox_stops() -> None:
    with held_range(OURS), pytest.raises(RangeTaken, match=f"{OURS} is another sandbox's"), held_range(OURS):
        pass
    with held_range(OURS) as held:
        assert held == OURS


def test_nothing_is_taken_when_all_ranges_are(monkeypatch: pytest.MonkeyPatch) -> None:
    few = (OURS, THEIRS)
    monkeypatch.setattr("slipway_sandbox.cloud.ranges.RANGES", few)
    with ExitStack() as stack:
        assert tuple(stack.enter_context(held_range(None)) for _ in few) == few
        with pytest.raises(RangeTaken, match="All ranges are other sandboxes'"):
            stack.enter_context(held_range(None))


def test_addresses_that_the_host_does_not_have_need_not_be_held() -> None:
    elsewhere = IPv4Network("192.0.2.0/24")
    with held_range(elsewhere) as one, held_range(elsewhere) as other:
        assert one == other == elsewhere


async def test_machines_and_floating_ips_have_addresses_of_the_range() -> None:
    async with Sandbox.start(addresses=OURS) as sandbox:
        tenant = Tenant(sandbox.cloud)
        port = tenant.a_port()
        body = {"floatingip": {"floating_network_id": tenant.network_id("public"), "port_id": port["id"]}}
        made = tenant.ask("POST", "/network/v2.0/floatingips", body).json()["floatingip"]
    inside, outside = port["fixed_ips"][0]["ip_address"], made["floating_ip_address"]
    lower, upper = OURS.subnets()
    assert IPv4Address(inside) in lower
    assert IPv4Address(outside) in upper


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("127.201.0.0/25", "too small for two networks", id="too small"),
        pytest.param("127.201.0.1/16", "has host bits set", id="an address in it"),
        pytest.param("everything", "everything", id="no range"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused(text: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--state-dir", "state", "--addresses", text])
    assert said in capsys.readouterr().err
