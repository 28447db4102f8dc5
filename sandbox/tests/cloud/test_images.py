"""Glance's filters, as the api uses them."""

from urllib.parse import urlencode

import pytest

from slipway_sandbox.cloud.testing import Tenant


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("debian-12", ["debian-12"]),
        ("in:debian-12,debian-12-node", ["debian-12-node", "debian-12"]),
        ('in:"debian-12-node"', ["debian-12-node"]),
        ('in:"with, comma"', []),
    ],
    ids=["a plain name", "alternatives", "a quoted name", "a quoted comma"],
)
def test_images_are_found_by_name(demo: Tenant, wanted: str, names: list[str]) -> None:
    found = demo.get("/image/v2/images?" + urlencode({"name": wanted}))["images"]
    assert [image["name"] for image in found] == names
