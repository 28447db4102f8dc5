"""What Slipway relies on in Keystone and Nova: the same tests for the sandbox and for a real OpenStack."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from slipway_sandbox.cloud.conformance import CloudUnderTest, until

NOBODY = "00000000-0000-4000-8000-000000000000"
SERVER_FIELDS = {
    "id", "name", "status", "tenant_id", "user_id", "metadata", "hostId", "image", "flavor", "created", "updated",
    "addresses", "accessIPv4", "accessIPv6", "links", "OS-DCF:diskConfig", "progress",
    "OS-EXT-AZ:availability_zone", "config_drive", "key_name", "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at", "security_groups", "OS-EXT-STS:task_state", "OS-EXT-STS:vm_state",
    "OS-EXT-STS:power_state", "os-extended-volumes:volumes_attached", "locked", "locked_reason", "description",
    "tags", "trusted_image_certificates", "OS-EXT-SRV-ATTR:hostname", "server_groups",
}  # fmt: skip


def nova_error(response: Any) -> tuple[int, str, str]:
    kind, detail = next(iter(response.json().items()))
    assert detail["code"] == response.status_code
    return response.status_code, kind, detail["message"]


# Keystone


def test_a_token_can_be_checked_with_itself_and_tells_project_roles_and_end(cloud: CloudUnderTest) -> None:
    token = cloud.tenant.auth_token
    response = cloud.ask("identity", "GET", "/auth/tokens", headers={"X-Subject-Token": token})
    described = response.json()["token"]
    assert response.headers["X-Subject-Token"] == token
    assert described["project"]["id"] == cloud.tenant.current_project_id
    assert {"member", "reader", "load-balancer_member"} <= {role["name"] for role in described["roles"]}
    assert described["expires_at"] > described["issued_at"]
    assert {"identity", "image", "compute", "network", "load-balancer"} <= {s["type"] for s in described["catalog"]}


def test_an_unknown_token_is_not_found_and_opens_nothing(cloud: CloudUnderTest) -> None:
    checked = cloud.ask("identity", "GET", "/auth/tokens", headers={"X-Subject-Token": "gAAAAAnonsense"})
    assert (checked.status_code, checked.json()["error"]["code"]) == (404, 404)
    for service, path in (("compute", "/servers"), ("network", "/ports"), ("load_balancer", "/lbaas/loadbalancers")):
        url = getattr(cloud.tenant, service).get_endpoint() + path
        # A session would fetch a new token and hide the 401.
        response = cloud.tenant.session.session.get(url, headers={"X-Auth-Token": "gAAAAAnonsense"}, timeout=20)
        assert (response.status_code, response.json()["error"]["title"]) == (401, "Unauthorized")
        assert response.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_tenant_may_not_list_projects_but_sees_its_own(cloud: CloudUnderTest) -> None:
    refused = cloud.ask("identity", "GET", "/projects")
    assert refused.status_code == 403
    assert refused.json()["error"]["message"].endswith("identity:list_projects.")
    own = cloud.ask("identity", "GET", "/auth/projects").json()["projects"]
    assert cloud.tenant.current_project_id in {project["id"] for project in own}


# Nova


def test_a_server_lives_on_its_port_and_leaves_it_behind(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    user_data = base64.b64encode(b"#cloud-config\n").decode()
    server_id = cloud.boot(port["id"], tags=["b", "a"], metadata={"slipway": "1"}, user_data=user_data)
    server = cloud.wait_for_server(server_id, "ACTIVE")
    assert set(server) == SERVER_FIELDS
    assert server["addresses"]["private"][0]["addr"] == port["fixed_ips"][0]["ip_address"]
    assert (server["tags"], server["metadata"], server["OS-EXT-STS:power_state"]) == (["a", "b"], {"slipway": "1"}, 1)
    bound = cloud.ask("network", "GET", f"/ports/{port['id']}").json()["port"]
    assert (bound["device_id"], bound["status"]) == (server_id, "ACTIVE")
    assert bound["device_owner"] == f"compute:{server['OS-EXT-AZ:availability_zone']}"

    assert cloud.ask("compute", "DELETE", f"/servers/{server_id}").status_code == 204
    until(lambda: cloud.ask("compute", "GET", f"/servers/{server_id}").status_code == 404, "the server is gone")
    left = cloud.ask("network", "GET", f"/ports/{port['id']}").json()["port"]
    assert (left["device_id"], left["device_owner"], left["fixed_ips"]) == ("", "", port["fixed_ips"])
    gone = cloud.ask("compute", "DELETE", f"/servers/{server_id}")
    assert nova_error(gone) == (404, "itemNotFound", f"Instance {server_id} could not be found.")
    since = {"changes-since": server["created"]}
    listed = cloud.ask("compute", "GET", "/servers/detail", params=since).json()["servers"]
    assert [s["status"] for s in listed if s["id"] == server_id] == ["DELETED"]
    now = cloud.ask("compute", "GET", "/servers").json()["servers"]
    assert server_id not in {s["id"] for s in now}


def test_a_port_in_use_is_refused_to_a_second_server(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    server_id = cloud.boot(port["id"])
    cloud.wait_for_server(server_id, "ACTIVE")
    response = cloud.ask("compute", "POST", "/servers", {"server": cloud.server_body(port["id"])})
    assert nova_error(response) == (409, "conflictingRequest", f"Port {port['id']} is still in use.")


def test_two_requests_for_one_port_at_once_are_both_accepted_and_one_fails(cloud: CloudUnderTest) -> None:
    """The port refuses a second server only once it is bound: who asks twice must look in between."""
    port = cloud.port()
    ids = [cloud.boot(port["id"]) for _ in range(2)]

    def built() -> Any:
        servers = [cloud.server(server_id) for server_id in ids]
        return servers if all(server["status"] != "BUILD" for server in servers) else None

    failed = [server for server in until(built, "both are built") if server["status"] == "ERROR"]
    assert failed
    assert "Failed to allocate the network(s)" in failed[0]["fault"]["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flavorRef": "nope"}, "Flavor nope could not be found."),
        ({"imageRef": NOBODY}, "Can not find requested image"),
        ({"networks": [{"uuid": NOBODY}]}, f"Network {NOBODY} could not be found."),
        ({"networks": [{"port": NOBODY}]}, f"Port id {NOBODY} could not be found."),
        ({"availability_zone": "moon"}, "The requested availability zone is not available"),
        ({"name": ""}, "Invalid input for field/attribute name. Value: . '' is too short"),
        ({"tags": ["a,b"]}, "Invalid input for field/attribute 0. Value: a,b. 'a,b' does not match '^[^,/]*$'"),
    ],
    ids=["flavor", "image", "network", "port", "zone", "name", "tag"],
)
def test_a_server_of_something_unknown_is_refused(cloud: CloudUnderTest, change: Any, message: str) -> None:
    body = cloud.server_body(cloud.port()["id"]) | change
    assert nova_error(cloud.ask("compute", "POST", "/servers", {"server": body})) == (400, "badRequest", message)


def test_a_server_in_an_unknown_group_is_refused(cloud: CloudUnderTest) -> None:
    body = {"server": cloud.server_body(cloud.port()["id"]), "os:scheduler_hints": {"group": NOBODY}}
    message = f"Instance group {NOBODY} could not be found."
    assert nova_error(cloud.ask("compute", "POST", "/servers", body)) == (400, "badRequest", message)


def test_a_build_that_fails_says_why_and_lets_the_port_go(cloud: CloudUnderTest) -> None:
    port = cloud.port()
    server = cloud.wait_for_server(cloud.boot(port["id"], metadata={"oslab_spawn": "error"}), "ERROR")
    assert server["fault"]["code"] == 500
    # After it comes the last host's own error, whichever that was.
    assert server["fault"]["message"].startswith("Exceeded maximum number of retries. Exceeded max scheduling attempts")
    assert (server["hostId"], server["addresses"]) == ("", {})
    assert cloud.ask("network", "GET", f"/ports/{port['id']}").json()["port"]["device_id"] == ""


def test_a_server_stops_starts_reboots_and_refuses_what_does_not_fit(cloud: CloudUnderTest) -> None:
    server_id = cloud.boot(cloud.port()["id"], metadata={"oslab_spawn": "2"})
    path = f"/servers/{server_id}/action"
    # Before it is scheduled, Nova shows a server but may answer 404 to an action on it.
    until(lambda: cloud.server(server_id)["OS-EXT-STS:task_state"] == "spawning", "the server is spawning")
    early = cloud.ask("compute", "POST", path, {"os-stop": None})
    message = f"Cannot 'stop' instance {server_id} while it is in vm_state building"
    assert nova_error(early) == (409, "conflictingRequest", message)
    cloud.wait_for_server(server_id, "ACTIVE")
    started = cloud.ask("compute", "POST", path, {"os-start": None})
    message = f"Cannot 'start' instance {server_id} while it is in vm_state active"
    assert nova_error(started) == (409, "conflictingRequest", message)
    assert cloud.ask("compute", "POST", path, {"os-stop": None}).status_code == 202
    assert cloud.wait_for_server(server_id, "SHUTOFF")["OS-EXT-STS:power_state"] == 4
    assert cloud.ask("compute", "POST", path, {"reboot": {"type": "HARD"}}).status_code == 202
    assert cloud.wait_for_server(server_id, "ACTIVE")["OS-EXT-STS:power_state"] == 1
    assert "output" in cloud.ask("compute", "POST", path, {"os-getConsoleOutput": {"length": 3}}).json()
    refused = nova_error(cloud.ask("compute", "POST", path, {"os-resetState": {"state": "error"}}))
    policy = "Policy doesn't allow os_compute_api:os-admin-actions:reset_state to be performed."
    assert refused == (403, "forbidden", policy)
    broken = cloud.ask_as_admin("compute", "POST", path, {"os-resetState": {"state": "error"}})
    assert (broken.status_code, cloud.server(server_id)["status"]) == (202, "ERROR")


@pytest.mark.parametrize("policy", ["soft-anti-affinity", "anti-affinity"])
def test_a_server_group_knows_its_members_and_keeps_them_apart(cloud: CloudUnderTest, policy: str) -> None:
    body = {"server_group": {"name": "conformance", "policy": policy}}
    group = cloud.ask("compute", "POST", "/os-server-groups", body).json()["server_group"]
    assert set(group) == {"id", "name", "policy", "rules", "members", "project_id", "user_id"}
    assert (group["policy"], group["members"]) == (policy, [])
    cloud.clean_later("compute", f"/os-server-groups/{group['id']}")
    ids, hosts = [], set()
    for _ in range(2):
        ids.append(cloud.boot(cloud.port()["id"], {"group": group["id"]}))
        hosts.add(cloud.wait_for_server(ids[-1], "ACTIVE")["hostId"])
    # The soft policy is a wish: Nova weighs a host's failed builds a million times heavier.
    assert len(hosts) == 2 or policy.startswith("soft")
    listed = cloud.ask("compute", "GET", f"/os-server-groups/{group['id']}").json()["server_group"]
    assert sorted(listed["members"]) == sorted(ids)


def test_lists_come_in_pages_and_are_filtered_by_tag(cloud: CloudUnderTest) -> None:
    ids = {cloud.boot(cloud.port()["id"], tags=["conformance-page"]) for _ in range(2)}
    for server_id in ids:
        # Nova's pages may miss a server that is not scheduled yet.
        cloud.wait_for_server(server_id, "ACTIVE")
    query = {"limit": "1", "tags": "conformance-page"}
    first = cloud.ask("compute", "GET", "/servers/detail", params=query).json()
    link = first["servers_links"][0]
    assert (link["rel"], f"marker={first['servers'][0]['id']}" in link["href"]) == ("next", True)
    rest = cloud.ask("compute", "GET", link["href"]).json()
    assert {server["id"] for server in (*first["servers"], *rest["servers"])} == ids
    assert cloud.ask("compute", "GET", "/servers?tags=nobody").json()["servers"] == []
    marker = nova_error(cloud.ask("compute", "GET", "/servers/detail?marker=nope"))
    assert marker == (400, "badRequest", "marker [nope] not found")


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/servers?all_tenants=1", "servers:index:get_all_tenants"),
        ("/os-services", "os-services:list"),
        (f"/os-quota-sets/{NOBODY}", "os-quota-sets:show"),
        ("/os-availability-zone/detail", "os-availability-zone:detail"),
    ],
    ids=["all tenants", "services", "foreign quota", "hosts"],
)
def test_what_is_for_administrators_is_forbidden_in_novas_words(cloud: CloudUnderTest, path: str, policy: str) -> None:
    message = f"Policy doesn't allow os_compute_api:{policy} to be performed."
    assert nova_error(cloud.ask("compute", "GET", path)) == (403, "forbidden", message)


def test_an_administrator_sees_all_servers_with_host_and_user_data(cloud: CloudUnderTest) -> None:
    server_id = cloud.boot(cloud.port()["id"], user_data="aGVsbG8=")
    cloud.wait_for_server(server_id, "ACTIVE")
    servers = cloud.ask_as_admin("compute", "GET", "/servers/detail?all_tenants=1").json()["servers"]
    server = next(server for server in servers if server["id"] == server_id)
    assert server["OS-EXT-SRV-ATTR:user_data"] == "aGVsbG8="
    assert server["OS-EXT-SRV-ATTR:host"]
    assert server["host_status"] == "UP"


def test_limits_and_quotas_have_the_known_names(cloud: CloudUnderTest) -> None:
    limits = cloud.ask("compute", "GET", "/limits").json()["limits"]["absolute"]
    assert set(limits) == {
        "maxTotalInstances", "maxTotalCores", "maxTotalRAMSize", "maxServerMeta", "maxTotalKeypairs",
        "maxServerGroups", "maxServerGroupMembers", "totalRAMUsed", "totalCoresUsed", "totalInstancesUsed",
        "totalServerGroupsUsed",
    }  # fmt: skip
    project = cloud.tenant.current_project_id
    details = cloud.ask("network", "GET", f"/quotas/{project}/details.json").json()["quota"]
    assert {"port", "security_group", "security_group_rule", "floatingip"} <= set(details)
    assert set(details["port"]) == {"limit", "used", "reserved"}
    assert "load_balancer" in cloud.ask("load_balancer", "GET", f"/lbaas/quotas/{project}").json()["quota"]


def test_cinder_tells_each_quota_with_what_is_used_of_it(cloud: CloudUnderTest) -> None:
    if not cloud.tenant.has_service("block-storage"):
        pytest.skip("this cloud has no block storage")
    project = cloud.tenant.current_project_id
    told = cloud.ask("block_storage", "GET", f"/os-quota-sets/{project}?usage=True").json()["quota_set"]
    types = {name.removeprefix("volumes_") for name in told if name.startswith("volumes_")}
    assert types, "every cloud with volumes has a type of them"
    assert {"volumes", "gigabytes", "per_volume_gigabytes", *(f"gigabytes_{kind}" for kind in types)} <= set(told)
    assert {"limit", "in_use", "reserved"} <= set(told["gigabytes"])
    limits = cloud.ask("block_storage", "GET", f"/os-quota-sets/{project}").json()["quota_set"]
    assert limits["gigabytes"] == told["gigabytes"]["limit"]
    assert cloud.ask("block_storage", "GET", f"/os-quota-sets/{NOBODY}").status_code == 403


def test_microversions_are_said_back_and_limited(cloud: CloudUnderTest) -> None:
    old = cloud.ask("compute", "GET", "/flavors/detail", microversion="2.1")
    assert old.headers["X-OpenStack-Nova-API-Version"] == "2.1"
    assert "extra_specs" not in old.json()["flavors"][0]
    url = cloud.tenant.compute.get_endpoint() + "/flavors"
    headers = {"OpenStack-API-Version": "compute 2.999"}
    too_new = cloud.tenant.session.get(url, headers=headers, raise_exc=False, authenticated=True)
    assert nova_error(too_new)[0] == 406
