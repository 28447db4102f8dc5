"""The object storage: tenancy, expiry, temporary URLs."""

from __future__ import annotations

import hmac

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.messages import Request, Response
from slipway_sandbox.cloud.testing import SteppingClock, Tenant


def account(tenant: Tenant) -> str:
    return f"/object-store/v1/AUTH_{tenant.project_id}"


def test_an_account_is_closed_to_others_and_to_nobody(cloud: Cloud, demo: Tenant) -> None:
    url = f"{account(demo)}/box"
    assert [demo.ask("PUT", url).status for _ in range(2)] == [201, 202]
    assert demo.ask("PUT", f"{url}/a", body=b"1").status == 201
    assert Tenant(cloud, "sandbox-other").ask("GET", f"{url}/a").status == 403
    assert cloud.handle(Request.of("GET", f"{url}/a")).status == 401
    assert demo.ask("GET", f"{url}/a").body == b"1"


def test_an_object_ends_when_it_was_told_to(clock: SteppingClock, demo: Tenant) -> None:
    url = f"{account(demo)}/box"
    demo.ask("PUT", url)
    demo.ask("PUT", f"{url}/a", body=b"1", headers={"x-delete-after": "60"})
    assert demo.ask("GET", f"{url}/a").status == 200
    clock.step(60)
    assert demo.ask("GET", f"{url}/a").status == 404
    assert demo.ask("DELETE", url).status == 204


def test_listings_fold_by_delimiter_and_page_by_marker(demo: Tenant) -> None:
    url = f"{account(demo)}/box"
    demo.ask("PUT", url)
    for name in ("a/1", "a/2", "b"):
        demo.ask("PUT", f"{url}/{name}", body=b"x")
    assert demo.ask("GET", f"{url}?delimiter=/").body == b"a/\nb\n"
    assert demo.ask("GET", f"{url}?limit=1&marker=a/1").body == b"a/2\n"
    assert demo.ask("GET", f"{url}?prefix=c").status == 204


def test_a_damaged_upload_is_refused(demo: Tenant) -> None:
    url = f"{account(demo)}/box"
    demo.ask("PUT", url)
    refused = demo.ask("PUT", f"{url}/a", body=b"hello", headers={"etag": "0" * 32})
    assert (refused.status, demo.ask("GET", f"{url}/a").status) == (422, 404)


def test_a_part_of_an_object_can_be_read(demo: Tenant) -> None:
    url = f"{account(demo)}/box"
    demo.ask("PUT", url)
    demo.ask("PUT", f"{url}/a", body=b"0123456789")
    part = demo.ask("GET", f"{url}/a", headers={"range": "bytes=2-4"})
    assert (part.status, part.body) == (206, b"234")


def test_a_temporary_url_opens_one_object_for_one_method_for_a_while(
    clock: SteppingClock, cloud: Cloud, demo: Tenant
) -> None:
    url = f"{account(demo)}/box/signed"
    demo.ask("PUT", f"{account(demo)}/box")
    demo.ask("POST", account(demo), headers={"x-account-meta-temp-url-key": "key"})
    expires = int(clock.now().timestamp()) + 60
    path = url.removeprefix("/object-store")

    def with_signature(method: str, key: str, target: str = url) -> Response:
        signature = hmac.new(key.encode(), f"PUT\n{expires}\n{path}".encode(), "sha256").hexdigest()
        signed = f"{target}?temp_url_sig={signature}&temp_url_expires={expires}"
        return cloud.handle(Request.of(method, signed, body=b"snapshot"))

    assert with_signature("PUT", "wrong").status == 401
    assert with_signature("GET", "key").status == 401
    assert with_signature("PUT", "key", f"{url}2").status == 401
    assert with_signature("PUT", "key").status == 201
    assert demo.ask("GET", url).body == b"snapshot"
    clock.step(60)
    assert with_signature("PUT", "key").status == 401
