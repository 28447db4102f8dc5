"""Keystone's version documents."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Response, answer
from slipway_sandbox.cloud.service import Call, Route


def _version(call: Call) -> Json:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base}/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"},
        ],
    }


def list_versions(call: Call) -> Response:
    """All versions: 300, as Keystone answers."""
    return answer(300, {"versions": {"values": [_version(call)]}}, Location=f"{call.base}/v3/")


def show_version(call: Call) -> Response:
    """The one version there is."""
    return answer(200, {"version": _version(call)})


VERSION_ROUTES = [
    Route("GET", "", list_versions, public=True),
    Route("GET", "v3", show_version, public=True),
]
