"""Who may do what: tenants, readers, the service user, tokens."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.messages import Request
from slipway_sandbox.cloud.testing import SteppingClock, Tenant


def a_balancer(tenant: Tenant) -> str:
    body = {"loadbalancer": {"name": "lb", "vip_port_id": tenant.a_port()["id"]}}
    response = tenant.ask("POST", "/load-balancer/v2.0/lbaas/loadbalancers", body)
    return str(response.json()["loadbalancer"]["id"])


def a_security_group(tenant: Tenant) -> str:
    body = {"security_group": {"name": "sg"}}
    return str(tenant.ask("POST", "/network/v2.0/security-groups", body).json()["security_group"]["id"])


def a_server_group(tenant: Tenant) -> str:
    body = {"server_group": {"name": "group", "policy": "soft-anti-affinity"}}
    return str(tenant.ask("POST", "/compute/v2.1/os-server-groups", body).json()["server_group"]["id"])


MADE: dict[str, Any] = {
    "/compute/v2.1/servers": lambda tenant: tenant.a_server(),
    "/compute/v2.1/os-server-groups": a_server_group,
    "/network/v2.0/ports": lambda tenant: tenant.a_port()["id"],
    "/network/v2.0/security-groups": a_security_group,
    "/load-balancer/v2.0/lbaas/loadbalancers": a_balancer,
}


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.rsplit("/", 1)[1])
def test_a_foreign_resource_is_not_found_and_not_listed(cloud: Cloud, demo: Tenant, path: str) -> None:
    wanted, other = MADE[path](demo), Tenant(cloud, "sandbox-other")
    for method in ("GET", "DELETE"):
        assert other.ask(method, f"{path}/{wanted}").status == 404
    listed = next(value for key, value in other.get(path).items() if not key.endswith("_links"))
    assert wanted not in {item["id"] for item in listed}
    assert demo.ask("GET", f"{path}/{wanted}").status == 200


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.rsplit("/", 1)[1])
def test_a_reader_reads_and_changes_nothing(cloud: Cloud, demo: Tenant, path: str) -> None:
    wanted, reader = MADE[path](demo), Tenant(cloud, "sandbox-reader")
    # Octavia has roles of its own: `reader` alone does not even read.
    assert reader.ask("GET", f"{path}/{wanted}").status == (403 if "lbaas" in path else 200)
    assert reader.ask("DELETE", f"{path}/{wanted}").status == 403
    assert demo.ask("GET", f"{path}/{wanted}").status == 200


def test_a_reader_may_make_nothing(cloud: Cloud, demo: Tenant) -> None:
    reader = Tenant(cloud, "sandbox-reader")
    body = {"server": reader.server_body(demo.a_port()["id"])}
    refused = reader.ask("POST", "/compute/v2.1/servers", body)
    policy = "Policy doesn't allow os_compute_api:servers:create to be performed."
    assert (refused.status, refused.json()["forbidden"]["message"]) == (403, policy)
    refused = reader.ask("POST", "/network/v2.0/ports", {"port": {"network_id": reader.network_id()}})
    assert (refused.status, refused.json()["NeutronError"]["type"]) == (403, "PolicyNotAuthorized")


def test_the_service_user_works_in_every_project_and_sees_no_other(cloud: Cloud, demo: Tenant) -> None:
    server_id = demo.a_server()
    service = Tenant(cloud, "sandbox-service", project="demo")
    assert service.server(server_id)["id"] == server_id
    assert service.a_server()
    elsewhere = Tenant(cloud, "sandbox-service", project="other")
    assert elsewhere.get("/compute/v2.1/servers")["servers"] == []
    assert elsewhere.ask("GET", "/compute/v2.1/servers?all_tenants=1").status == 403


def test_a_tenant_gets_no_token_for_a_foreign_project(cloud: Cloud) -> None:
    with pytest.raises(AssertionError, match="requires authentication"):
        Tenant(cloud, "sandbox", project="other")


def test_a_wrong_password_opens_nothing(cloud: Cloud) -> None:
    user = {"name": "demo", "domain": {"id": "default"}, "password": "wrong"}
    payload = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    response = cloud.handle(Request.of("POST", "/identity/v3/auth/tokens", payload=payload))
    assert (response.status, response.json()["error"]["title"]) == (401, "Unauthorized")


def test_a_token_ends_after_an_hour_or_when_it_is_revoked(clock: SteppingClock, cloud: Cloud, demo: Tenant) -> None:
    clock.step(3599)
    assert demo.ask("GET", "/compute/v2.1/servers").status == 200
    clock.step(1)
    assert demo.ask("GET", "/compute/v2.1/servers").status == 401
    demo.log_in()
    assert demo.ask("GET", "/compute/v2.1/servers").status == 200
    assert cloud.revoke_tokens("demo") > 0
    assert demo.ask("GET", "/compute/v2.1/servers").status == 401


def test_only_an_administrator_checks_tokens_of_others(cloud: Cloud, demo: Tenant, admin: Tenant) -> None:
    other, path = Tenant(cloud, "sandbox-other"), "/identity/v3/auth/tokens"
    subject = {"x-subject-token": demo.token}
    assert [t.ask("GET", path, headers=subject).status for t in (demo, admin, other)] == [200, 200, 403]
    assert demo.ask("HEAD", path, headers=subject).status == 200
    assert demo.ask("DELETE", path, headers=subject).status == 204
    assert admin.ask("GET", path, headers=subject).status == 404


def test_an_application_credential_logs_in_until_it_is_deleted(cloud: Cloud, demo: Tenant) -> None:
    token = demo.ask("GET", "/identity/v3/auth/tokens", headers={"x-subject-token": demo.token}).json()["token"]
    path = f"/identity/v3/users/{token['user']['id']}/application_credentials"
    body = {"application_credential": {"name": "ci", "roles": [{"name": "reader"}]}}
    made = demo.ask("POST", path, body).json()["application_credential"]
    secret = {"id": made["id"], "secret": made["secret"]}
    identity = {"methods": ["application_credential"], "application_credential": secret}

    def log_in() -> Any:
        payload = {"auth": {"identity": identity}}
        return cloud.handle(Request.of("POST", "/identity/v3/auth/tokens", payload=payload))

    described = log_in().json()["token"]
    assert described["project"]["id"] == demo.project_id
    assert [role["name"] for role in described["roles"]] == ["reader"]
    assert demo.ask("DELETE", f"{path}/{made['id']}").status == 204
    assert log_in().status == 401


@pytest.mark.parametrize("payload", [{}, {"auth": {}}, {"auth": {"identity": {"methods": ["password"]}}}])
def test_a_malformed_login_is_refused_not_a_crash(cloud: Cloud, payload: Any) -> None:
    assert cloud.handle(Request.of("POST", "/identity/v3/auth/tokens", payload=payload)).status in (400, 401)


@pytest.mark.parametrize("service", ["identity/v3/users", "compute/v2.1/servers", "network/v2.0/ports"])
def test_without_a_token_nothing_opens(cloud: Cloud, service: str) -> None:
    response = cloud.handle(Request.of("GET", f"/{service}"))
    assert (response.status, response.json()["error"]["code"]) == (401, 401)
