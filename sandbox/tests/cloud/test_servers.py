"""Servers over time, on a stepping clock."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.testing import START, SteppingClock, Tenant

ACTIONS = "/compute/v2.1/servers/{}/action"


def message(response: Any) -> tuple[int, str]:
    return response.status, next(iter(response.json().values()))["message"]


def a_group(tenant: Tenant, policy: str = "soft-anti-affinity") -> str:
    body = {"server_group": {"name": "group", "policy": policy}}
    return str(tenant.ask("POST", "/compute/v2.1/os-server-groups", body).json()["server_group"]["id"])


def test_a_server_is_scheduled_then_spawned_then_active_at_exactly_its_time(clock: SteppingClock, demo: Tenant) -> None:
    server_id = demo.a_server()
    seen = []
    for step in (0.0, 0.1, 0.1, 1.9, 0.1):
        clock.step(step)
        server = demo.server(server_id)
        seen.append((server["status"], server["OS-EXT-STS:task_state"], bool(server["addresses"])))
    assert seen == [
        ("BUILD", "scheduling", False),
        ("BUILD", "scheduling", False),
        ("BUILD", "spawning", False),
        ("BUILD", "spawning", False),
        ("ACTIVE", None, True),
    ]


def test_times_of_a_server_are_those_of_its_events_not_of_who_looks(clock: SteppingClock, demo: Tenant) -> None:
    server_id = demo.a_server()
    clock.step(3600 - 1)
    assert demo.server(server_id)["OS-SRV-USG:launched_at"] == "2026-01-01T12:00:02.000000"


def test_metadata_sets_the_build_time(clock: SteppingClock, demo: Tenant) -> None:
    server_id = demo.a_server(metadata={"oslab_spawn": "30"})
    clock.step(30)
    assert demo.server(server_id)["status"] == "BUILD"
    clock.step(1)
    assert demo.server(server_id)["status"] == "ACTIVE"


def test_of_two_requests_for_one_port_before_it_is_bound_one_ends_in_error_and_the_other_loses_it(
    clock: SteppingClock, demo: Tenant
) -> None:
    port = demo.a_port()
    first, second = demo.a_server(port["id"]), demo.a_server(port["id"])
    clock.step(5)
    winner, loser = demo.server(first), demo.server(second)
    assert (winner["status"], winner["addresses"]) == ("ACTIVE", {})
    assert (loser["status"], loser["addresses"]) == ("ERROR", {})
    assert "Failed to allocate the network(s)" in loser["fault"]["message"]
    assert demo.get(f"/network/v2.0/ports/{port['id']}")["port"]["device_id"] == ""


def test_a_server_deleted_while_it_is_built_never_appears(clock: SteppingClock, demo: Tenant) -> None:
    port = demo.a_port()
    server_id = demo.a_server(port["id"])
    clock.step(1)
    assert demo.ask("DELETE", f"/compute/v2.1/servers/{server_id}").status == 204
    assert demo.server(server_id)["OS-EXT-STS:task_state"] == "deleting"
    clock.step(10)
    assert demo.ask("GET", f"/compute/v2.1/servers/{server_id}").status == 404
    assert demo.get(f"/network/v2.0/ports/{port['id']}")["port"]["device_id"] == ""


def test_a_server_on_a_network_gets_a_port_that_dies_with_it(clock: SteppingClock, demo: Tenant) -> None:
    body = demo.server_body("") | {"networks": [{"uuid": demo.network_id()}]}
    server_id = demo.ask("POST", "/compute/v2.1/servers", {"server": body}).json()["server"]["id"]
    clock.step(5)
    assert demo.server(server_id)["addresses"]["private"][0]["addr"].startswith("127.77.")
    assert len(demo.get(f"/network/v2.0/ports?device_id={server_id}")["ports"]) == 1
    demo.ask("DELETE", f"/compute/v2.1/servers/{server_id}")
    clock.step(5)
    assert demo.get("/network/v2.0/ports")["ports"] == []


def test_quota_is_refused_in_novas_words_and_failed_servers_count(cloud: Cloud, demo: Tenant) -> None:
    cloud.set_quota("demo", {"instances": 1, "cores": 1})
    cloud.fail_next_builds(1)
    demo.a_server()
    refused = demo.ask("POST", "/compute/v2.1/servers", {"server": demo.server_body(demo.a_port()["id"])})
    assert message(refused) == (
        403,
        "Quota exceeded for cores, instances: Requested 1, 1, but already used 1, 1 of 1, 1 cores, instances",
    )


def test_a_refused_server_leaves_nothing_behind(cloud: Cloud, demo: Tenant) -> None:
    before = cloud.summary()["demo"]
    networks = [{"uuid": demo.network_id()}, {"port": "00000000-0000-4000-8000-000000000000"}]
    body = demo.server_body("") | {"networks": networks}
    assert demo.ask("POST", "/compute/v2.1/servers", {"server": body}).status == 400
    assert cloud.summary()["demo"] == before


def test_soft_anti_affinity_uses_every_host_before_one_twice(clock: SteppingClock, demo: Tenant, admin: Tenant) -> None:
    group = a_group(demo)
    ids = [demo.a_server(group=group, availability_zone="zone-1") for _ in range(5)]
    clock.step(5)
    hosts = [admin.server(server_id)["OS-EXT-SRV-ATTR:host"] for server_id in ids]
    assert (len(set(hosts[:4])), hosts[4] in hosts[:4]) == (4, True)
    assert len({demo.server(server_id)["hostId"] for server_id in ids}) == 4


def test_hard_anti_affinity_fails_where_no_host_is_left(clock: SteppingClock, demo: Tenant) -> None:
    group = a_group(demo, "anti-affinity")
    ids = [demo.a_server(group=group, availability_zone="zone-1") for _ in range(5)]
    clock.step(5)
    states = [demo.server(server_id)["status"] for server_id in ids]
    assert states == ["ACTIVE"] * 4 + ["ERROR"]
    assert demo.server(ids[4])["fault"]["message"].startswith("No valid host was found.")


@pytest.mark.parametrize(
    ("action", "status", "boots"),
    [({"os-stop": None}, "SHUTOFF", 1), ({"reboot": {"type": "SOFT"}}, "ACTIVE", 2)],
    ids=["stop", "reboot"],
)
def test_the_machine_runner_sees_every_boot(
    clock: SteppingClock, cloud: Cloud, demo: Tenant, action: Any, status: str, boots: int
) -> None:
    server_id = demo.a_server(user_data="aGVsbG8=")
    clock.step(5)
    (view,) = cloud.servers_view()
    assert (view.boots, view.user_data, view.addresses[0][:7]) == (1, "hello", "127.77.")
    assert demo.ask("POST", ACTIONS.format(server_id), action).status == 202
    clock.step(5)
    (view,) = cloud.servers_view()
    assert (view.status, view.boots) == (status, boots)


@pytest.mark.parametrize(
    ("action", "task"),
    [({"os-stop": None}, "powering-off"), ({"reboot": {"type": "HARD"}}, "rebooting_hard")],
    ids=["stop", "reboot"],
)
def test_a_task_on_a_dead_host_never_ends(
    clock: SteppingClock, cloud: Cloud, demo: Tenant, admin: Tenant, action: Any, task: str
) -> None:
    server_id = demo.a_server()
    clock.step(5)
    cloud.set_host_up(admin.server(server_id)["OS-EXT-SRV-ATTR:host"], up=False)
    demo.ask("POST", ACTIONS.format(server_id), action)
    clock.step(3000)
    assert demo.server(server_id)["OS-EXT-STS:task_state"] == task
    assert admin.server(server_id)["host_status"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("mode", "status"), [("shutoff", "SHUTOFF"), ("error", "ERROR"), ("vanish", None)], ids=["off", "error", "gone"]
)
def test_a_server_can_be_killed(clock: SteppingClock, cloud: Cloud, demo: Tenant, mode: Any, status: Any) -> None:
    port = demo.a_port()
    server_id = demo.a_server(port["id"])
    clock.step(5)
    cloud.kill_server(server_id, mode)
    response = demo.ask("GET", f"/compute/v2.1/servers/{server_id}")
    assert (response.json()["server"]["status"] if response.status == 200 else None) == status
    bound = demo.get(f"/network/v2.0/ports/{port['id']}")["port"]["device_id"]
    assert bound == (server_id if status else "")


def test_changes_since_shows_what_changed_and_what_died(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    still, dies = demo.a_server(), demo.a_server()
    clock.step(100)
    cloud.kill_server(dies, "vanish")
    url = "/compute/v2.1/servers/detail?changes-since={}"
    later = demo.get(url.format("2026-01-01T12:01:00Z"))["servers"]
    assert [(s["id"], s["status"]) for s in later] == [(dies, "DELETED")]
    every = demo.get(url.format(START.strftime("%Y-%m-%dT%H:%M:%SZ")))["servers"]
    assert {s["id"] for s in every} == {still, dies}
    assert [s["id"] for s in demo.get("/compute/v2.1/servers")["servers"]] == [still]


def test_pages_hold_every_server_once(demo: Tenant) -> None:
    ids = {demo.a_server() for _ in range(5)}
    url, seen = "/compute/v2.1/servers?limit=2", []
    while url:
        page = demo.get(url)
        seen += [server["id"] for server in page["servers"]]
        links = page.get("servers_links", [])
        url = links[0]["href"].removeprefix("http://sandbox") if links else ""
    assert (len(seen), set(seen)) == (5, ids)


def test_the_same_seed_and_requests_give_the_same_cloud() -> None:
    def story() -> list[Any]:
        clock = SteppingClock()
        tenant = Tenant(Cloud(clock.now, seed=3))
        ids = [tenant.a_server() for _ in range(3)]
        clock.step(5)
        return [tenant.server(server_id) for server_id in ids]

    assert story() == story()


def test_the_console_log_is_what_was_written(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    server_id = demo.a_server()
    clock.step(5)
    cloud.append_console(server_id, "one\ntwo\n")
    cloud.append_console(server_id, "three")
    body = {"os-getConsoleOutput": {"length": 2}}
    assert demo.ask("POST", ACTIONS.format(server_id), body).json() == {"output": "two\nthree"}
