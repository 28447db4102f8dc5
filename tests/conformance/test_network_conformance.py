"""What Slipway relies on in Neutron: the same tests for the sandbox and for a real OpenStack."""

from __future__ import annotations

from typing import Any

from slipway_sandbox.cloud.conformance import CloudUnderTest, until

NOBODY = "00000000-0000-4000-8000-000000000000"
PORT_FIELDS = {
    "id", "name", "network_id", "tenant_id", "mac_address", "admin_state_up", "status", "device_id",
    "device_owner", "fixed_ips", "allowed_address_pairs", "extra_dhcp_opts", "security_groups", "description",
    "binding:vnic_type", "port_security_enabled", "tags", "created_at", "updated_at", "revision_number",
    "project_id",
}  # fmt: skip


def neutron_error(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["NeutronError"]["type"]


def test_ports_are_tagged_filtered_and_cut_to_fields(cloud: CloudUnderTest) -> None:
    port, other = cloud.port(description="one"), cloud.port()
    assert set(cloud.ask("network", "GET", f"/ports/{port['id']}").json()["port"]) == PORT_FIELDS
    path = f"/ports/{port['id']}/tags"
    assert cloud.ask("network", "PUT", path, {"tags": ["conformance-b", "conformance-a"]}).status_code == 200
    assert cloud.ask("network", "PUT", f"{path}/conformance-c").status_code == 201
    found = cloud.ask("network", "GET", "/ports?tags=conformance-a,conformance-c&fields=id&fields=tags").json()["ports"]
    assert found == [{"id": port["id"], "tags": ["conformance-a", "conformance-b", "conformance-c"]}]
    assert cloud.ask("network", "DELETE", f"{path}/conformance-b").status_code == 204
    assert neutron_error(cloud.ask("network", "GET", f"{path}/conformance-b")) == (404, "TagNotFound")
    both = f"id={port['id']}&id={other['id']}"
    pages = cloud.ask("network", "GET", f"/ports?limit=1&{both}").json()
    assert (len(pages["ports"]), pages["ports_links"][0]["rel"]) == (1, "next")
    following = cloud.ask("network", "GET", pages["ports_links"][0]["href"]).json()
    assert {p["id"] for p in (*pages["ports"], *following["ports"])} == {port["id"], other["id"]}


def test_a_port_that_cannot_be_is_refused_in_neutrons_words(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    network = port["network_id"]

    def refused(fields: Any) -> tuple[int, str]:
        return neutron_error(cloud.ask("network", "POST", "/ports", {"port": fields}))

    assert refused({"network_id": NOBODY}) == (404, "NetworkNotFound")
    assert refused({"network_id": network, "fixed_ips": port["fixed_ips"]}) == (409, "IpAddressAlreadyAllocated")
    outside = {"network_id": network, "fixed_ips": [{"ip_address": "9.9.9.9"}]}
    assert refused(outside) == (400, "InvalidIpForNetwork")
    assert refused({"network_id": network, "bogus": 1}) == (400, "HTTPBadRequest")
    assert refused({"network_id": network, "security_groups": [NOBODY]}) == (404, "SecurityGroupNotFound")
    assert neutron_error(cloud.ask("network", "GET", f"/ports/{NOBODY}")) == (404, "PortNotFound")
    read_only = cloud.ask("network", "PUT", f"/ports/{port['id']}", {"port": {"network_id": network}})
    assert neutron_error(read_only) == (400, "HTTPBadRequest")


def test_a_port_may_be_deleted_under_its_server(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    server_id = cloud.boot(port["id"])
    cloud.wait_for_server(server_id, "ACTIVE")
    assert cloud.ask("network", "DELETE", f"/ports/{port['id']}").status_code == 204
    assert neutron_error(cloud.ask("network", "GET", f"/ports/{port['id']}")) == (404, "PortNotFound")
    server = until(lambda: s if not (s := cloud.server(server_id))["addresses"] else None, "the address is gone")
    assert server["status"] == "ACTIVE"


def test_security_groups_keep_rules_apart_and_stay_while_used(cloud: CloudUnderTest) -> None:
    body = {"security_group": {"name": "conformance", "description": "d"}}
    group = cloud.ask("network", "POST", "/security-groups", body).json()["security_group"]
    cloud.clean_later("network", f"/security-groups/{group['id']}")
    directions = {(rule["direction"], rule["ethertype"]) for rule in group["security_group_rules"]}
    assert directions == {("egress", "IPv4"), ("egress", "IPv6")}
    rule = {
        "security_group_id": group["id"],
        "direction": "ingress",
        "protocol": "tcp",
        "port_range_min": 2379,
        "port_range_max": 2380,
        "remote_ip_prefix": "10.0.0.0/8",
    }
    made = cloud.ask("network", "POST", "/security-group-rules", {"security_group_rule": rule})
    assert made.status_code == 201
    again = cloud.ask("network", "POST", "/security-group-rules", {"security_group_rule": rule})
    assert neutron_error(again) == (409, "SecurityGroupRuleExists")
    assert made.json()["security_group_rule"]["id"] in again.json()["NeutronError"]["message"]
    bad = cloud.ask("network", "POST", "/security-group-rules", {"security_group_rule": {**rule, "protocol": "xx"}})
    assert neutron_error(bad) == (400, "SecurityGroupRuleInvalidProtocol")
    cloud.port(security_groups=[group["id"]])
    used = cloud.ask("network", "DELETE", f"/security-groups/{group['id']}")
    assert neutron_error(used) == (409, "SecurityGroupInUse")


def test_quotas_and_foreign_networks_are_for_administrators(cloud: CloudUnderTest) -> None:
    path = f"/quotas/{cloud.tenant.current_project_id}"
    assert neutron_error(cloud.ask("network", "PUT", path, {"quota": {"port": 1}})) == (403, "PolicyNotAuthorized")
    assert neutron_error(cloud.ask("network", "GET", "/nonsense")) == (404, "HTTPNotFound")
    public = cloud.ask("network", "GET", "/networks?router:external=true").json()["networks"]
    assert "public" in {network["name"] for network in public}
    body = {"floatingip": {"floating_network_id": cloud.private_network()["id"]}}
    assert neutron_error(cloud.ask("network", "POST", "/floatingips", body)) == (400, "BadRequest")


def test_a_floating_ip_leads_to_a_port_and_is_recognised_by_its_description(cloud: CloudUnderTest) -> None:
    """On the port of a load balancer: the one use that Slipway makes of it."""
    public = cloud.ask("network", "GET", "/networks?router:external=true").json()["networks"][0]
    port, other = cloud.port(), cloud.port()
    body = {"floating_network_id": public["id"], "port_id": port["id"], "description": "slipway:resource=conformance"}
    made = cloud.ask("network", "POST", "/floatingips", {"floatingip": body})
    assert made.status_code == 201, made.text
    floating = made.json()["floatingip"]
    path = f"/floatingips/{floating['id']}"
    cloud.clean_later("network", path)
    assert (floating["port_id"], floating["fixed_ip_address"]) == (port["id"], port["fixed_ips"][0]["ip_address"])
    assert floating["description"] == "slipway:resource=conformance"
    assert cloud.ask("network", "PUT", f"{path}/tags", {"tags": ["conformance-fip"]}).status_code == 200
    listed = cloud.ask("network", "GET", "/floatingips?tags=conformance-fip").json()["floatingips"]
    assert [(each["id"], each["floating_ip_address"]) for each in listed] == [
        (floating["id"], floating["floating_ip_address"])
    ]
    assert cloud.ask("network", "DELETE", f"/ports/{port['id']}").status_code == 204
    loose = cloud.ask("network", "GET", path).json()["floatingip"]
    assert (loose["port_id"], loose["fixed_ip_address"]) == (None, None)
    led = cloud.ask("network", "PUT", path, {"floatingip": {"port_id": other["id"]}})
    assert led.json()["floatingip"]["port_id"] == other["id"]
    assert cloud.ask("network", "DELETE", path).status_code == 204
    assert neutron_error(cloud.ask("network", "GET", path)) == (404, "FloatingIPNotFound")
