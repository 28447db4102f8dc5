"""Cinder v3: a project's quota of volumes and what its servers' root volumes use of it (read only)."""

from __future__ import annotations

from collections import Counter

from slipway_sandbox.cloud.messages import Json, Response, answer
from slipway_sandbox.cloud.model import STOCK_VOLUME_QUOTA
from slipway_sandbox.cloud.service import Call, Route, require_admin
from slipway_sandbox.cloud.state import State

TRUE_WORDS = ("1", "t", "true", "on", "y", "yes")


def _version(call: Call) -> Json:
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": "3.71",
        "min_version": "3.0",
        "updated": "2023-08-31T00:00:00Z",
        "links": [{"rel": "self", "href": f"{call.base}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }


def list_versions(call: Call) -> Response:
    """The versions document at Cinder's root: 300, as Cinder answers."""
    return answer(300, {"versions": [_version(call)]})


def show_version(call: Call) -> Response:
    """The document of v3."""
    return answer(200, {"versions": [_version(call)]})


def volume_usage(state: State, project_id: str) -> Counter[str]:
    """What the volumes of a project's servers use, in all and by type."""
    used: Counter[str] = Counter()
    for server in state.live_servers(project_id):
        if server.root_volume is not None:
            for suffix in ("", f"_{server.root_volume.kind}"):
                used[f"volumes{suffix}"] += 1
                used[f"gigabytes{suffix}"] += server.root_volume.size
    return used


def show_quota(call: Call) -> Response:
    """GET /os-quota-sets/{project}: limits alone, or with `usage=True` what is used of them, too."""
    wanted = call.params["id"]
    if wanted != call.caller.project:
        require_admin(call, "Policy doesn't allow volume_extension:quotas:show to be performed.")
    project = call.state.projects.get(wanted)
    limits: Json = project.volume_quota if project else STOCK_VOLUME_QUOTA
    if (call.request.first("usage") or "").lower() in TRUE_WORDS:
        used = volume_usage(call.state, wanted)
        limits = {
            name: {"limit": limit, "in_use": used[name], "reserved": 0, "allocated": 0}
            for name, limit in limits.items()
        }
    return answer(200, {"quota_set": {"id": wanted, **limits}})


ROUTES = [
    Route("GET", "", list_versions, public=True),
    Route("GET", "v3", show_version, public=True),
    Route("GET", "v3/os-quota-sets/{id}", show_quota),
    Route("GET", "v3/{project}/os-quota-sets/{id}", show_quota),
]
