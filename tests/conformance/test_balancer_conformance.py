"""What Slipway relies on in Octavia: the same tests for the sandbox and for a real OpenStack."""

from __future__ import annotations

import secrets
from typing import Any

from slipway_sandbox.cloud.conformance import CloudUnderTest, until

NOBODY = "00000000-0000-4000-8000-000000000000"
BALANCER_FIELDS = {
    "id", "name", "description", "provisioning_status", "operating_status", "admin_state_up", "project_id",
    "created_at", "updated_at", "vip_address", "vip_port_id", "vip_subnet_id", "vip_network_id",
    "additional_vips", "listeners", "pools", "provider", "flavor_id", "vip_qos_policy_id", "tags",
    "availability_zone", "tenant_id",
}  # fmt: skip
MEMBER_FIELDS = {
    "id", "name", "operating_status", "provisioning_status", "admin_state_up", "address", "protocol_port",
    "weight", "backup", "subnet_id", "project_id", "created_at", "updated_at", "monitor_address", "monitor_port",
    "tags", "tenant_id",
}  # fmt: skip


def octavia_error(response: Any) -> tuple[int, str]:
    body = response.json()
    assert set(body) == {"faultcode", "faultstring", "debuginfo"}
    return response.status_code, body["faultstring"]


class Balancer:
    """A load balancer of a test, with the waiting that Octavia asks for."""

    def __init__(self, cloud: CloudUnderTest, port: Any) -> None:
        self._cloud = cloud
        self.tag = f"conformance-{secrets.token_hex(4)}"
        body = {"loadbalancer": {"name": "conformance", "vip_port_id": port["id"], "tags": [self.tag]}}
        response = cloud.ask("load_balancer", "POST", "/lbaas/loadbalancers", body)
        assert response.status_code == 201, response.text
        self.made = response.json()["loadbalancer"]
        self.id = self.made["id"]
        self.path = f"/lbaas/loadbalancers/{self.id}"
        cloud.clean_later("load_balancer", f"{self.path}?cascade=true")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        return self._cloud.ask("load_balancer", method, path, body)

    def settle(self) -> Any:
        def settled() -> Any:
            shown = self.ask("GET", self.path).json()["loadbalancer"]
            return None if shown["provisioning_status"].startswith("PENDING") else shown

        return until(settled, "the load balancer is no longer pending")

    def make(self, kind: str, **fields: Any) -> Any:
        response = self.ask("POST", f"/lbaas/{kind}s", {kind: fields})
        assert response.status_code == 201, response.text
        self.settle()
        return response.json()[kind]


def test_a_balancer_on_a_port_of_ones_own_is_made_and_deleted(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    balancer = Balancer(cloud, port)
    assert set(balancer.made) == BALANCER_FIELDS
    assert (balancer.made["provisioning_status"], balancer.made["operating_status"]) == ("PENDING_CREATE", "OFFLINE")
    assert balancer.made["vip_address"] == port["fixed_ips"][0]["ip_address"]
    body = {"listener": {"loadbalancer_id": balancer.id, "protocol": "TCP", "protocol_port": 6443}}
    message = f"Load Balancer {balancer.id} is immutable and cannot be updated."
    assert octavia_error(balancer.ask("POST", "/lbaas/listeners", body)) == (409, message)
    message = f"Invalid state PENDING_CREATE of loadbalancer resource {balancer.id}"
    assert octavia_error(balancer.ask("DELETE", balancer.path)) == (409, message)
    shown = balancer.settle()
    assert (shown["provisioning_status"], shown["operating_status"]) == ("ACTIVE", "ONLINE")
    listed = balancer.ask("GET", f"/lbaas/loadbalancers?tags={balancer.tag}&limit=1").json()
    assert [item["id"] for item in listed["loadbalancers"]] == [balancer.id]
    assert listed["loadbalancers_links"][0]["rel"] == "next"

    assert balancer.ask("DELETE", balancer.path).status_code == 204
    until(lambda: balancer.ask("GET", balancer.path).status_code == 404, "the load balancer is gone")
    gone = octavia_error(balancer.ask("DELETE", balancer.path))
    assert gone == (404, f"Load Balancer {balancer.id} not found.")
    assert cloud.ask("network", "GET", f"/ports/{port['id']}").status_code == 200


def test_a_balancer_without_or_with_an_unknown_address_is_refused(cloud: CloudUnderTest) -> None:
    def refused(**fields: Any) -> tuple[int, str]:
        body = {"loadbalancer": {"name": "conformance", **fields}}
        return octavia_error(cloud.ask("load_balancer", "POST", "/lbaas/loadbalancers", body))

    none = "Validation failure: VIP must contain one of: vip_port_id, vip_network_id, vip_subnet_id."
    assert refused() == (400, none)
    assert refused(vip_port_id=NOBODY) == (400, f"Port {NOBODY} not found.")
    assert refused(vip_subnet_id=NOBODY) == (400, f"Subnet {NOBODY} not found.")


def test_a_tree_grows_changes_as_a_batch_and_goes_as_a_whole(cloud: CloudUnderTest) -> None:
    balancer = Balancer(cloud, cloud.port())
    balancer.settle()
    listener = balancer.make("listener", loadbalancer_id=balancer.id, protocol="TCP", protocol_port=6443)
    second = {"listener": {"loadbalancer_id": balancer.id, "protocol": "TCP", "protocol_port": 6443}}
    message = "Another Listener on this Load Balancer is already using protocol TCP and protocol_port 6443"
    assert octavia_error(balancer.ask("POST", "/lbaas/listeners", second)) == (409, message)
    pool = balancer.make("pool", listener_id=listener["id"], protocol="TCP", lb_algorithm="ROUND_ROBIN")
    members = f"/lbaas/pools/{pool['id']}/members"
    body: Any = {"member": {"address": "10.1.15.77", "protocol_port": 6443, "name": "one"}}
    one = balancer.ask("POST", members, body)
    assert one.status_code == 201
    assert set(one.json()["member"]) == MEMBER_FIELDS
    pending = octavia_error(balancer.ask("PUT", members, {"members": []}))
    assert pending == (409, f"Pool {pool['id']} is immutable and cannot be updated.")
    balancer.settle()
    message = "Another member on this pool is already using ip 10.1.15.77 on protocol_port 6443"
    assert octavia_error(balancer.ask("POST", members, body)) == (409, message)

    added = {"members": [{"address": "10.1.15.78", "protocol_port": 6443, "name": "two"}]}
    assert balancer.ask("PUT", f"{members}?additive_only=true", added).status_code == 202
    balancer.settle()
    listed = balancer.ask("GET", members).json()["members"]
    assert {(m["name"], m["operating_status"]) for m in listed} == {("one", "NO_MONITOR"), ("two", "NO_MONITOR")}
    assert balancer.ask("PUT", members, added).status_code == 202
    balancer.settle()
    assert [m["name"] for m in balancer.ask("GET", members).json()["members"]] == ["two"]

    monitor = {"type": "TCP", "delay": 5, "timeout": 3, "max_retries": 1}
    balancer.make("healthmonitor", pool_id=pool["id"], **monitor)
    again = balancer.ask("POST", "/lbaas/healthmonitors", {"healthmonitor": {"pool_id": pool["id"], **monitor}})
    assert octavia_error(again) == (409, "This pool already has a health monitor")
    tree = balancer.ask("GET", f"{balancer.path}/status").json()["statuses"]["loadbalancer"]
    shown = tree["listeners"][0]["pools"][0]
    assert (shown["health_monitor"]["type"], [m["name"] for m in shown["members"]]) == ("TCP", ["two"])

    message = f"Validation failure: Cannot delete Load Balancer {balancer.id} - it has children"
    assert octavia_error(balancer.ask("DELETE", balancer.path)) == (400, message)
    assert balancer.ask("DELETE", f"{balancer.path}?cascade=true").status_code == 204
    until(lambda: balancer.ask("GET", balancer.path).status_code == 404, "the load balancer is gone")
    assert balancer.ask("GET", f"/lbaas/pools/{pool['id']}").status_code == 404


def test_a_deleted_listener_is_made_again_in_front_of_the_pool_that_stayed(cloud: CloudUnderTest) -> None:
    balancer = Balancer(cloud, cloud.port())
    balancer.settle()
    place = {"loadbalancer_id": balancer.id, "protocol": "TCP", "protocol_port": 6443}
    listener = balancer.make("listener", **place)
    pool = balancer.make("pool", listener_id=listener["id"], protocol="TCP", lb_algorithm="ROUND_ROBIN")
    member = {"address": "10.1.15.77", "protocol_port": 6443, "name": "one", "weight": 0}
    assert balancer.ask("PUT", f"/lbaas/pools/{pool['id']}/members", {"members": [member]}).status_code == 202
    balancer.settle()
    assert balancer.ask("DELETE", f"/lbaas/listeners/{listener['id']}").status_code == 204
    balancer.settle()
    assert balancer.ask("GET", f"/lbaas/listeners/{listener['id']}").status_code == 404
    again = balancer.make("listener", **place, default_pool_id=pool["id"])
    shown = balancer.ask("GET", f"/lbaas/pools/{pool['id']}").json()["pool"]
    assert [each["id"] for each in shown["listeners"]] == [again["id"]]
    (kept,) = balancer.ask("GET", f"/lbaas/pools/{pool['id']}/members").json()["members"]
    assert (kept["name"], kept["weight"]) == ("one", 0)
