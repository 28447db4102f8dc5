"""Octavia over time, on a stepping clock."""

from __future__ import annotations

from typing import Any

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.messages import Json
from slipway_sandbox.cloud.testing import SteppingClock, Tenant

ROOT = "/load-balancer/v2.0/lbaas"


def fault_of(response: Any) -> tuple[int, str]:
    return response.status, response.json()["faultstring"]


class Tree:
    """A load balancer with a listener, a pool, a monitor and members, built step by step."""

    def __init__(self, tenant: Tenant, clock: SteppingClock) -> None:
        self.tenant, self.clock = tenant, clock
        self.port = tenant.a_port()
        self.id = self.make("loadbalancer", vip_port_id=self.port["id"])
        self.listener = self.make("listener", loadbalancer_id=self.id, protocol="TCP", protocol_port=6443)
        self.pool = self.make("pool", listener_id=self.listener, protocol="TCP", lb_algorithm="ROUND_ROBIN")
        self.members = f"{ROOT}/pools/{self.pool}/members"

    def make(self, kind: str, **fields: Any) -> str:
        response = self.tenant.ask("POST", f"{ROOT}/{kind}s", {kind: fields})
        assert response.status == 201, response.body
        self.clock.step(5)
        return str(response.json()[kind]["id"])

    def monitor(self) -> str:
        return self.make("healthmonitor", pool_id=self.pool, type="TCP", delay=5, timeout=3, max_retries=1)

    def batch(self, *addresses: str, query: str = "") -> Any:
        members = [{"address": address, "protocol_port": 6443} for address in addresses]
        return self.tenant.ask("PUT", f"{self.members}{query}", {"members": members})

    def listed(self) -> dict[str, Json]:
        return {item["address"]: item for item in self.tenant.get(self.members)["members"]}

    def shown(self) -> Json:
        balancer: Json = self.tenant.get(f"{ROOT}/loadbalancers/{self.id}")["loadbalancer"]
        return balancer


def test_while_anything_changes_everything_else_is_refused(clock: SteppingClock, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    assert tree.batch("127.77.0.50").status == 202
    assert tree.shown()["provisioning_status"] == "PENDING_UPDATE"
    assert tree.listed()["127.77.0.50"]["provisioning_status"] == "PENDING_CREATE"
    assert fault_of(tree.batch("127.77.0.51")) == (409, f"Pool {tree.pool} is immutable and cannot be updated.")
    rename = demo.ask("PUT", f"{ROOT}/loadbalancers/{tree.id}", {"loadbalancer": {"name": "new"}})
    assert fault_of(rename) == (409, f"Load Balancer {tree.id} is immutable and cannot be updated.")
    clock.step(0.5)
    assert tree.shown()["provisioning_status"] == "ACTIVE"
    assert tree.batch("127.77.0.51").status == 202


def test_a_batch_replaces_unless_it_only_adds(clock: SteppingClock, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    for addresses, query, left in (
        (("127.77.0.50",), "", {"127.77.0.50"}),
        (("127.77.0.51",), "?additive_only=true", {"127.77.0.50", "127.77.0.51"}),
        (("127.77.0.51", "127.77.0.52"), "", {"127.77.0.51", "127.77.0.52"}),
        ((), "", set()),
    ):
        assert tree.batch(*addresses, query=query).status == 202
        clock.step(1)
        assert set(tree.listed()) == left


def test_health_of_members_adds_up_to_the_balancers(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    tree.batch("127.77.0.50", "127.77.0.51")
    clock.step(1)
    assert {m["operating_status"] for m in tree.listed().values()} == {"NO_MONITOR"}
    tree.monitor()
    seen = [tree.shown()["operating_status"]]
    for member in tree.listed().values():
        cloud.set_member_health(member["id"], "ERROR")
        seen.append(tree.shown()["operating_status"])
    assert seen == ["ONLINE", "DEGRADED", "ERROR"]


def test_cascade_takes_the_tree_and_leaves_ones_own_port(clock: SteppingClock, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    tree.monitor()
    tree.batch("127.77.0.50")
    clock.step(1)
    assert demo.ask("DELETE", f"{ROOT}/loadbalancers/{tree.id}?cascade=true").status == 204
    assert tree.shown()["provisioning_status"] == "PENDING_DELETE"
    clock.step(5)
    for plural in ("loadbalancers", "listeners", "pools", "healthmonitors"):
        assert demo.get(f"{ROOT}/{plural}")[plural] == []
    assert demo.ask("GET", f"/network/v2.0/ports/{tree.port['id']}").status == 200


def test_a_vip_port_that_octavia_made_goes_with_its_balancer(clock: SteppingClock, demo: Tenant) -> None:
    subnet = demo.get("/network/v2.0/subnets?name=private")["subnets"][0]["id"]
    body = {"loadbalancer": {"name": "lb", "vip_subnet_id": subnet}}
    made = demo.ask("POST", f"{ROOT}/loadbalancers", body).json()["loadbalancer"]
    port = demo.get(f"/network/v2.0/ports/{made['vip_port_id']}")["port"]
    assert (port["device_owner"], port["fixed_ips"][0]["ip_address"]) == ("Octavia", made["vip_address"])
    clock.step(5)
    demo.ask("DELETE", f"{ROOT}/loadbalancers/{made['id']}")
    clock.step(5)
    assert demo.ask("GET", f"/network/v2.0/ports/{made['vip_port_id']}").status == 404


def test_a_pool_takes_members_and_monitor_with_it_and_its_listener_stays(clock: SteppingClock, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    tree.monitor()
    tree.batch("127.77.0.50")
    clock.step(1)
    assert demo.ask("DELETE", f"{ROOT}/pools/{tree.pool}").status == 204
    clock.step(1)
    assert demo.get(f"{ROOT}/healthmonitors")["healthmonitors"] == []
    listener = demo.get(f"{ROOT}/listeners/{tree.listener}")["listener"]
    assert (listener["default_pool_id"], listener["provisioning_status"]) == (None, "ACTIVE")


def test_bad_values_and_quota_are_refused_in_octavias_words(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    tree = Tree(demo, clock)

    def refused(kind: str, **fields: Any) -> tuple[int, str]:
        return fault_of(demo.ask("POST", f"{ROOT}/{kind}s", {kind: fields}))

    listener = {"loadbalancer_id": tree.id, "protocol_port": 80}
    assert refused("listener", **listener, protocol="XX")[1].startswith("Invalid input for field/attribute protocol.")
    assert refused("listener", **listener, protocol="TCP", colour=1)[0] == 400
    missing = refused("listener", loadbalancer_id=tree.id, protocol="TCP")
    assert missing[1] == "Invalid input for field/attribute protocol_port. Value: 'None'. Mandatory field missing."
    bad = demo.ask("POST", tree.members, {"member": {"address": "here", "protocol_port": 1}})
    assert fault_of(bad)[0] == 400
    cloud.set_quota("demo", {"load_balancer": 1})
    port = demo.a_port()
    assert refused("loadbalancer", vip_port_id=port["id"]) == (403, "Quota has been met for resources: load_balancer")


def test_a_balancer_in_error_can_only_be_deleted(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    cloud.break_balancer(tree.id)
    assert tree.shown()["provisioning_status"] == "ERROR"
    assert tree.batch("127.77.0.50").status == 409
    assert demo.ask("DELETE", f"{ROOT}/loadbalancers/{tree.id}?cascade=true").status == 204
    clock.step(5)
    assert demo.ask("GET", f"{ROOT}/loadbalancers/{tree.id}").status == 404


def test_a_balancer_can_vanish_behind_its_owners_back(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    tree = Tree(demo, clock)
    cloud.delete_balancer(tree.id)
    assert demo.ask("GET", f"{ROOT}/loadbalancers/{tree.id}").status == 404
    assert demo.ask("GET", f"{ROOT}/pools/{tree.pool}").status == 404
