"""Faults: what they hit, what they do, and that they stop."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.faults import Effect, Fault
from slipway_sandbox.cloud.messages import Breakage, Request, Response
from slipway_sandbox.cloud.testing import SteppingClock, Tenant

SERVERS = "/compute/v2.1/servers"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(409, "conflictingRequest"), (429, "overLimit"), (500, "computeFault"), (503, "serviceUnavailable")],
)
def test_the_next_calls_of_a_kind_fail_and_then_no_more(cloud: Cloud, demo: Tenant, status: int, kind: str) -> None:
    cloud.fail_next("compute", "GET", r"/servers$", status, count=2)
    assert demo.ask("GET", "/compute/v2.1/flavors").status == 200
    failed = [demo.ask("GET", SERVERS) for _ in range(3)]
    assert [response.status for response in failed] == [status, status, 200]
    assert list(failed[0].json()) == [kind]
    assert failed[0].headers.get("Retry-After") == ("1" if status == 429 else None)


def test_an_injected_401_looks_like_that_of_a_dead_token(cloud: Cloud, demo: Tenant) -> None:
    cloud.fail_next("compute", "GET", "", 401)
    injected = demo.ask("GET", SERVERS)
    cloud.revoke_tokens("demo")
    real = demo.ask("GET", SERVERS)
    assert (injected.status, injected.json()) == (real.status, real.json())


def test_a_fault_can_wait_for_its_turn(cloud: Cloud, demo: Tenant) -> None:
    cloud.arm(Fault(Effect.STATUS, "compute", "GET", "servers", status=500, skip=2))
    assert [demo.ask("GET", SERVERS).status for _ in range(4)] == [200, 200, 500, 200]


def test_a_timeout_after_the_work_leaves_the_work_done(cloud: Cloud, demo: Tenant) -> None:
    body = {"server": demo.server_body(demo.a_port()["id"])}
    cloud.time_out_after("compute", "POST", "servers")
    assert demo.ask("POST", SERVERS, body).breakage is Breakage.TIMEOUT
    assert len(demo.get(SERVERS)["servers"]) == 1


def test_a_refused_connection_leaves_nothing_done(cloud: Cloud, demo: Tenant) -> None:
    body = {"server": demo.server_body(demo.a_port()["id"])}
    cloud.arm(Fault(Effect.REFUSE, "compute", "POST"))
    assert demo.ask("POST", SERVERS, body).breakage is Breakage.REFUSED
    assert demo.get(SERVERS)["servers"] == []


def test_a_whole_api_is_down_until_its_fault_is_cleared(cloud: Cloud, demo: Tenant) -> None:
    fault = cloud.take_down("compute")
    assert {demo.ask("GET", SERVERS).status for _ in range(5)} == {503}
    assert demo.ask("GET", "/network/v2.0/ports").status == 200
    cloud.faults.clear(fault.id)
    assert demo.ask("GET", SERVERS).status == 200


def test_lists_can_lie(cloud: Cloud, demo: Tenant) -> None:
    ids = {demo.a_server() for _ in range(4)}

    def seen(effect: Effect) -> set[str]:
        cloud.arm(Fault(effect, "compute", "GET", "/servers/detail"))
        response = demo.ask("GET", f"{SERVERS}/detail?limit=4")
        assert (response.status, "servers_links" in response.json()) == (200, False)
        return {server["id"] for server in response.json()["servers"]}

    assert seen(Effect.EMPTY_LIST) == set()
    assert len(seen(Effect.PARTIAL_LIST) & ids) == 2
    assert not seen(Effect.FOREIGN_LIST) & ids
    assert {server["id"] for server in demo.get(f"{SERVERS}/detail")["servers"]} == ids


def test_builds_fail_for_want_of_a_host_or_while_spawning(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    cloud.fail_next_builds(1, no_valid_host=True)
    first = demo.a_server()
    cloud.fail_next_builds(1)
    second, third = demo.a_server(), demo.a_server()
    clock.step(5)
    faults = [demo.server(server_id).get("fault", {}).get("message", "") for server_id in (first, second, third)]
    assert faults[0] == "No valid host was found. There are not enough hosts available."
    assert faults[1].startswith("Exceeded maximum number of retries.")
    assert (faults[2], demo.server(third)["status"]) == ("", "ACTIVE")


def control(cloud: Cloud, method: str, path: str, payload: Any = None, body: bytes = b"") -> Response:
    return cloud.handle(Request.of(method, f"/_control/{path}", payload=payload, body=body))


def test_the_control_api_arms_lists_and_clears_faults(cloud: Cloud, demo: Tenant) -> None:
    fault = {"effect": "status", "service": "compute", "status": 503, "count": None}
    made = control(cloud, "POST", "faults", fault)
    assert (made.status, made.json()["fault"]["id"]) == (201, 1)
    control(cloud, "POST", "builds/fail", {"count": 3, "no_valid_host": True})
    assert demo.ask("GET", SERVERS).status == 503
    listed = control(cloud, "GET", "faults").json()
    assert (listed["faults"][0]["hits"], listed["builds"]["no_valid_host"]) == (1, 3)
    assert control(cloud, "DELETE", "faults").status == 204
    assert control(cloud, "GET", "faults").json() == {"faults": [], "builds": {"no_valid_host": 0, "failing": 0}}
    assert demo.ask("GET", SERVERS).status == 200


@pytest.mark.parametrize(
    "fault",
    [{"effect": "magic"}, {"colour": "blue"}, {"path": "("}, {"count": "two"}, {"status": 999}],
    ids=["unknown effect", "unknown field", "bad pattern", "no number", "no status"],
)
def test_a_fault_that_makes_no_sense_is_refused_with_the_reason(cloud: Cloud, fault: Any) -> None:
    refused = control(cloud, "POST", "faults", fault)
    assert (refused.status, bool(refused.json()["error"])) == (400, True)
    assert control(cloud, "GET", "faults").json()["faults"] == []


def test_the_control_api_moves_every_lever(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    port = demo.a_port()
    server_id = demo.a_server(port["id"], user_data="aGVsbG8=")
    clock.step(5)
    (server,) = control(cloud, "GET", "servers").json()["servers"]
    assert (server["id"], server["user_data"], server["boots"]) == (server_id, "hello", 1)
    assert control(cloud, "POST", f"servers/{server_id}/console", body=b"booted").status == 204
    assert control(cloud, "POST", f"servers/{server_id}/kill", {"mode": "error"}).status == 204
    assert demo.server(server_id)["status"] == "ERROR"
    assert control(cloud, "GET", "summary").json()["projects"]["demo"]["servers"] == 1
    assert control(cloud, "DELETE", f"servers/{server_id}").status == 204
    assert control(cloud, "DELETE", f"ports/{port['id']}").status == 204
    assert set(control(cloud, "GET", "summary").json()["projects"]["demo"].values()) == {0}
    assert control(cloud, "POST", "hosts/compute-zone-1-1", {"up": False}).status == 204
    assert control(cloud, "POST", "projects/demo/quota", {"instances": 0}).status == 204
    refused = demo.ask("POST", SERVERS, {"server": demo.server_body(demo.a_port()["id"])})
    assert refused.status == 403
    assert control(cloud, "POST", "tokens/revoke", {"user": "demo"}).json() == {"revoked": 1}
    assert demo.ask("GET", SERVERS).status == 401


def test_the_control_api_says_how_long_builds_take(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    assert control(cloud, "POST", "times", {"schedule": 0, "build": 30}).status == 204
    server_id = demo.a_server(demo.a_port()["id"])
    clock.step(29)
    assert demo.server(server_id)["status"] == "BUILD"
    clock.step(2)
    assert demo.server(server_id)["status"] == "ACTIVE"


@pytest.mark.parametrize(
    ("method", "path", "payload", "status"),
    [
        ("DELETE", "servers/nobody", None, 404),
        ("DELETE", "load-balancers/nobody", None, 404),
        ("POST", "hosts/nobody", {"up": False}, 404),
        ("POST", "projects/demo/quota", {"colours": 3}, 400),
        ("POST", "projects/demo/quota", {"instances": None}, 400),
        ("POST", "builds/fail", {"count": []}, 400),
        ("POST", "times", {"lunch": 3}, 400),
        ("POST", "times", {"build": []}, 400),
        ("POST", "nothing", {}, 404),
    ],
    ids=["server", "load balancer", "host", "quota", "limit", "number", "time", "seconds", "operation"],
)
def test_the_control_api_says_what_does_not_exist(
    cloud: Cloud, method: str, path: str, payload: Any, status: int
) -> None:
    refused = control(cloud, method, path, payload)
    assert (refused.status, bool(refused.json()["error"])) == (status, True)
