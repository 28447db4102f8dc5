"""Cinder's quotas, and what servers that boot from volumes use of them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.testing import SteppingClock, Tenant


def quota(tenant: Tenant) -> Any:
    return tenant.get(f"/block-storage/v3/os-quota-sets/{tenant.project_id}?usage=True")["quota_set"]


def boot_from_volume(tenant: Tenant, **volume: Any) -> str:
    image = tenant.get("/image/v2/images?name=debian-12")["images"][0]["id"]
    root = {"boot_index": 0, "uuid": image, "source_type": "image", "destination_type": "volume", **volume}
    return tenant.a_server(imageRef="", block_device_mapping_v2=[root])


def used(told: Any) -> dict[str, int]:
    return {name: each["in_use"] for name, each in told.items() if name != "id" and each["in_use"]}


def test_limits_are_told_with_or_without_what_is_used(demo: Tenant) -> None:
    told = quota(demo)
    assert told["id"] == demo.project_id
    assert told["gigabytes"] == {"limit": 1000, "in_use": 0, "reserved": 0, "allocated": 0}
    assert {"volumes", "volumes_ssd", "gigabytes_ssd", "per_volume_gigabytes"} <= set(told)
    plain = demo.get(f"/block-storage/v3/{demo.project_id}/os-quota-sets/{demo.project_id}")["quota_set"]
    assert (plain["volumes"], plain["gigabytes_ssd"]) == (10, -1)


def test_root_volumes_count_by_their_type_until_their_server_is_gone(clock: SteppingClock, demo: Tenant) -> None:
    fast = boot_from_volume(demo, volume_size=40, volume_type="ssd")
    boot_from_volume(demo, volume_size=20)
    demo.a_server()
    assert used(quota(demo)) == {
        "volumes": 2, "gigabytes": 60, "volumes_ssd": 1, "gigabytes_ssd": 40, "volumes___DEFAULT__": 1,
        "gigabytes___DEFAULT__": 20,
    }  # fmt: skip
    demo.ask("DELETE", f"/compute/v2.1/servers/{fast}")
    clock.step(5)
    assert used(quota(demo))["gigabytes"] == 20


def test_a_quota_is_changed_like_those_of_other_services(cloud: Cloud, demo: Tenant) -> None:
    cloud.set_quota("demo", {"gigabytes_ssd": 100, "volumes": 3})
    assert (quota(demo)["gigabytes_ssd"]["limit"], quota(demo)["volumes"]["limit"]) == (100, 3)


@pytest.mark.parametrize("name", ["sandbox", "sandbox-reader"])
def test_everybody_in_a_project_sees_its_quota_and_no_other(cloud: Cloud, admin: Tenant, name: str) -> None:
    tenant = Tenant(cloud, name)
    assert quota(tenant)["volumes"]["limit"] == 10
    path = f"/block-storage/v3/os-quota-sets/{admin.project_id}"
    refused = tenant.ask("GET", path)
    assert refused.status == 403
    assert refused.json()["forbidden"]["message"].startswith("Policy doesn't allow volume_extension:quotas:show")
    assert Tenant(cloud, "sandbox-admin").ask("GET", path).status == 200
