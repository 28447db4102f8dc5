"""What Slipway relies on in object storage: the same tests for the sandbox and for a real Swift."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from slipway_sandbox.cloud.conformance import CloudUnderTest

CONTAINER = "slipway-conformance"


def storage(cloud: CloudUnderTest, method: str, path: str, **options: Any) -> Any:
    return cloud.ask("object_store", method, path, **options)


def test_objects_are_kept_listed_and_deleted(cloud: CloudUnderTest) -> None:
    assert storage(cloud, "PUT", f"/{CONTAINER}").status_code in (201, 202)
    cloud.clean_later("object_store", f"/{CONTAINER}")
    put = storage(cloud, "PUT", f"/{CONTAINER}/a/b", data=b"hello", headers={"X-Object-Meta-Kind": "snapshot"})
    cloud.clean_later("object_store", f"/{CONTAINER}/a/b")
    assert (put.status_code, put.headers["Etag"].strip('"')) == (201, "5d41402abc4b2a76b9719d911017c592")
    got = storage(cloud, "GET", f"/{CONTAINER}/a/b")
    assert (got.content, got.headers["X-Object-Meta-Kind"]) == (b"hello", "snapshot")
    head = storage(cloud, "HEAD", f"/{CONTAINER}/a/b")
    assert (head.status_code, head.headers["Content-Length"]) == (200, "5")
    listed = storage(cloud, "GET", f"/{CONTAINER}?format=json&prefix=a/").json()
    assert [(item["name"], item["bytes"]) for item in listed] == [("a/b", 5)]
    assert storage(cloud, "DELETE", f"/{CONTAINER}").status_code == 409
    assert storage(cloud, "DELETE", f"/{CONTAINER}/a/b").status_code == 204
    assert storage(cloud, "GET", f"/{CONTAINER}/a/b").status_code == 404
    assert storage(cloud, "PUT", "/slipway-nowhere/x", data=b"q").status_code == 404


def test_a_temporary_url_opens_one_object_for_one_method(cloud: CloudUnderTest) -> None:
    assert storage(cloud, "PUT", f"/{CONTAINER}").status_code in (201, 202)
    cloud.clean_later("object_store", f"/{CONTAINER}")
    key = "conformance-key"
    endpoint = cloud.tenant.object_store.get_endpoint()
    if "tempurl" not in requests.get(endpoint.partition("/v1/")[0] + "/info", timeout=20).json():
        pytest.skip("this cloud's Swift does not offer temporary URLs")
    assert storage(cloud, "POST", "", headers={"X-Account-Meta-Temp-URL-Key-2": key}).status_code == 204
    forget = {"X-Remove-Account-Meta-Temp-URL-Key-2": "x"}
    cloud.made.append(lambda: storage(cloud, "POST", "", headers=forget))
    parts = urlsplit(f"{endpoint}/{CONTAINER}/signed")
    path = parts.path[parts.path.index("/v1/") :]
    expires = int(time.time()) + 300

    def signed(method: str) -> str:
        signature = hmac.new(key.encode(), f"{method}\n{expires}\n{path}".encode(), "sha256").hexdigest()
        return f"{parts.geturl()}?temp_url_sig={signature}&temp_url_expires={expires}"

    assert requests.put(signed("PUT"), data=b"snapshot", timeout=20).status_code == 201
    cloud.clean_later("object_store", f"/{CONTAINER}/signed")
    assert requests.get(signed("PUT"), timeout=20).status_code == 401
    assert requests.get(signed("GET"), timeout=20).content == b"snapshot"
    etag = hashlib.md5(b"snapshot", usedforsecurity=False).hexdigest()
    assert storage(cloud, "HEAD", f"/{CONTAINER}/signed").headers["Etag"].strip('"') == etag
