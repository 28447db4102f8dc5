"""Neutron's addresses, quotas and floating IPs."""

from __future__ import annotations

from typing import Any

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.testing import SteppingClock, Tenant


def kind_of(response: Any) -> tuple[int, str]:
    return response.status, response.json()["NeutronError"]["type"]


def ask_port(tenant: Tenant, **fields: Any) -> Any:
    body = {"port": {"network_id": tenant.network_id(), **fields}}
    return tenant.ask("POST", "/network/v2.0/ports", body)


def test_addresses_are_loopback_distinct_and_not_reused_at_once(demo: Tenant) -> None:
    first, second = demo.a_port(), demo.a_port()
    address = first["fixed_ips"][0]["ip_address"]
    assert address.startswith("127.77.")
    assert address != second["fixed_ips"][0]["ip_address"]
    demo.ask("DELETE", f"/network/v2.0/ports/{first['id']}")
    assert demo.a_port()["fixed_ips"][0]["ip_address"] != address
    wished = ask_port(demo, fixed_ips=[{"ip_address": address}])
    assert wished.json()["port"]["fixed_ips"][0]["ip_address"] == address


def test_a_refused_port_takes_no_address(demo: Tenant) -> None:
    taken = demo.a_port()["fixed_ips"][0]
    refused = ask_port(demo, fixed_ips=[{"ip_address": "127.77.9.9"}, taken])
    assert kind_of(refused) == (409, "IpAddressAlreadyAllocated")
    assert ask_port(demo, fixed_ips=[{"ip_address": "127.77.9.9"}]).status == 201


def test_a_failed_change_of_addresses_keeps_the_old_one(demo: Tenant) -> None:
    port, taken = demo.a_port(), demo.a_port()["fixed_ips"]
    url = f"/network/v2.0/ports/{port['id']}"
    assert demo.ask("PUT", url, {"port": {"fixed_ips": taken}}).status == 409
    assert demo.get(url)["port"]["fixed_ips"] == port["fixed_ips"]
    assert kind_of(ask_port(demo, fixed_ips=port["fixed_ips"])) == (409, "IpAddressAlreadyAllocated")


def test_quota_is_neutrons_409(cloud: Cloud, demo: Tenant) -> None:
    cloud.set_quota("demo", {"port": 1, "security_group": 2})
    demo.a_port()
    assert kind_of(ask_port(demo)) == (409, "OverQuota")
    body = {"security_group": {"name": "one"}}
    assert demo.ask("POST", "/network/v2.0/security-groups", body).status == 201
    assert kind_of(demo.ask("POST", "/network/v2.0/security-groups", body)) == (409, "OverQuota")
    details = demo.get(f"/network/v2.0/quotas/{demo.project_id}/details.json")["quota"]
    assert (details["port"], details["security_group"]["used"]) == ({"limit": 1, "used": 1, "reserved": 0}, 2)


def test_small_has_the_quotas_of_a_stock_cloud(cloud: Cloud) -> None:
    small = Tenant(cloud, "sandbox-small")
    limits = small.get("/compute/v2.1/limits")["limits"]["absolute"]
    assert (limits["maxTotalInstances"], limits["maxTotalCores"], limits["maxTotalRAMSize"]) == (10, 20, 51200)


def test_a_floating_ip_follows_its_port_and_comes_loose_with_it(clock: SteppingClock, demo: Tenant) -> None:
    port = demo.a_port()
    server_id = demo.a_server(port["id"])
    clock.step(5)
    body = {"floatingip": {"floating_network_id": demo.network_id("public"), "port_id": port["id"]}}
    made = demo.ask("POST", "/network/v2.0/floatingips", body).json()["floatingip"]
    assert made["floating_ip_address"].startswith("127.77.128.")
    assert made["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    kinds = [item["OS-EXT-IPS:type"] for item in demo.server(server_id)["addresses"]["private"]]
    assert kinds == ["fixed", "floating"]
    assert kind_of(demo.ask("POST", "/network/v2.0/floatingips", body))[0] == 409
    demo.ask("DELETE", f"/network/v2.0/ports/{port['id']}")
    url = f"/network/v2.0/floatingips/{made['id']}"
    assert demo.get(url)["floatingip"]["port_id"] is None
    assert demo.ask("DELETE", url).status == 204


def test_a_tenants_own_network_is_its_own_and_stays_while_used(cloud: Cloud, demo: Tenant) -> None:
    network = demo.ask("POST", "/network/v2.0/networks", {"network": {"name": "mine"}}).json()["network"]
    subnet = {"subnet": {"network_id": network["id"], "cidr": "127.90.0.0/24", "ip_version": 4}}
    made = demo.ask("POST", "/network/v2.0/subnets", subnet).json()["subnet"]
    assert (made["gateway_ip"], made["allocation_pools"][0]["start"]) == ("127.90.0.1", "127.90.0.2")
    assert kind_of(demo.ask("POST", "/network/v2.0/subnets", subnet)) == (400, "InvalidInput")
    other = Tenant(cloud, "sandbox-other")
    assert kind_of(other.ask("POST", "/network/v2.0/ports", {"port": {"network_id": network["id"]}}))[0] == 404
    port = demo.a_port(network_id=network["id"])
    assert port["fixed_ips"][0]["ip_address"] == "127.90.0.2"
    url = f"/network/v2.0/networks/{network['id']}"
    assert kind_of(demo.ask("DELETE", url)) == (409, "NetworkInUse")
    demo.ask("DELETE", f"/network/v2.0/ports/{port['id']}")
    assert demo.ask("DELETE", url).status == 204
    assert demo.ask("POST", "/network/v2.0/networks", {"network": {"shared": True}}).status == 403


def test_lists_are_filtered_and_an_unknown_filter_is_refused(demo: Tenant) -> None:
    port = demo.a_port(name="one")
    demo.a_port(name="two")
    address = port["fixed_ips"][0]["ip_address"]

    def found(query: str) -> list[str]:
        return [item["name"] for item in demo.get(f"/network/v2.0/ports?{query}")["ports"]]

    assert found("name=one") == ["one"]
    assert sorted(found("name=one&name=two")) == ["one", "two"]
    assert found(f"fixed_ips=ip_address%3D{address}") == ["one"]
    assert found("device_id=nobody") == []
    assert found(f"id={port['id']}&admin_state_up=True") == ["one"]
    assert kind_of(demo.ask("GET", "/network/v2.0/ports?colour=blue")) == (400, "InvalidInput")


def test_the_default_group_stays_with_the_project(demo: Tenant) -> None:
    group = demo.get("/network/v2.0/security-groups?name=default")["security_groups"][0]
    assert len(group["security_group_rules"]) == 4
    refused = demo.ask("DELETE", f"/network/v2.0/security-groups/{group['id']}")
    assert kind_of(refused) == (409, "SecurityGroupCannotRemoveDefault")


def test_a_malformed_body_is_refused_not_a_crash(demo: Tenant) -> None:
    for body in ({}, {"port": 3}, {"port": {"network_id": demo.network_id(), "fixed_ips": [7]}}):
        assert kind_of(demo.ask("POST", "/network/v2.0/ports", body)) == (400, "HTTPBadRequest")
