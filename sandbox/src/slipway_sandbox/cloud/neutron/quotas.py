"""Neutron's quotas."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Refused, Response, answer
from slipway_sandbox.cloud.model import STOCK_NETWORK_QUOTA
from slipway_sandbox.cloud.service import Call, Route, require_admin


def _limits(call: Call, rule: str) -> dict[str, int]:
    if call.params["id"] != call.caller.project:
        require_admin(call, f"rule:{rule} is disallowed by policy")
    project = call.state.projects.get(call.params["id"])
    return project.network_quota if project else STOCK_NETWORK_QUOTA


def show_quota(call: Call) -> Response:
    """GET /quotas/{project}."""
    return answer(200, {"quota": _limits(call, "get_quota")})


def show_quota_details(call: Call) -> Response:
    """GET /quotas/{project}/details.json: limits with what is used of them."""
    detail = {
        name: {
            "limit": limit,
            "used": sum(1 for r in call.state.network.get(name, {}).values() if r["project_id"] == call.params["id"]),
            "reserved": 0,
        }
        for name, limit in _limits(call, "get_quota").items()
    }
    return answer(200, {"quota": detail})


def update_quota(call: Call) -> Response:
    """PUT /quotas/{project}: administrators only."""
    require_admin(call, "rule:update_quota is disallowed by policy")
    project = call.state.projects.get(call.params["id"])
    if project is None:
        raise Refused(404, f"Project {call.params['id']} could not be found.", "TenantQuotaNotFound")
    for name, limit in call.body("quota").items():
        if name in project.network_quota:
            project.network_quota[name] = int(limit)
    return answer(200, {"quota": project.network_quota})


QUOTA_ROUTES = [
    Route("GET", "v2.0/quotas/{id}", show_quota),
    Route("PUT", "v2.0/quotas/{id}", update_quota),
    Route("GET", "v2.0/quotas/{id}/details.json", show_quota_details),
    Route("GET", "v2.0/quotas/{id}/details", show_quota_details),
]
