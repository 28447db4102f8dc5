"""Nova's quotas and limits."""

from __future__ import annotations

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import STOCK_COMPUTE_QUOTA, Flavor, Project
from slipway_sandbox.cloud.nova.servers import POLICY
from slipway_sandbox.cloud.service import Call, Route, require_admin
from slipway_sandbox.cloud.state import State

FIXED_OLD = {"fixed_ips": -1, "floating_ips": -1, "security_groups": -1, "security_group_rules": -1}
FIXED_FILES = {"injected_files": 5, "injected_file_content_bytes": 10240, "injected_file_path_bytes": 255}


def server_usage(state: State, project_id: str) -> dict[str, int]:
    """What a project's servers use of `instances`, `cores` and `ram`; failed ones count too."""
    own = state.live_servers(project_id)
    return {
        "instances": len(own),
        "cores": sum(server.flavor.vcpus for server in own),
        "ram": sum(server.flavor.ram for server in own),
    }


def check_server_quota(call: Call, flavor: Flavor, metadata: Json) -> None:
    """Refuse with 403, in Nova's words, a server that exceeds its project's quota."""
    project = call.state.projects[call.caller.project]
    quota, used = project.compute_quota, server_usage(call.state, project.id)
    asked = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram}
    over = [name for name in ("cores", "instances", "ram") if 0 <= quota[name] < used[name] + asked[name]]
    if over:

        def listed(numbers: dict[str, int]) -> str:
            return ", ".join(str(numbers[name]) for name in over)

        raise Refused(
            403,
            f"Quota exceeded for {', '.join(over)}: Requested {listed(asked)}, but already used {listed(used)}"
            f" of {listed(quota)} {', '.join(over)}",
        )
    if 0 <= quota["metadata_items"] < len(metadata):
        raise Refused(403, f"Maximum number of metadata items exceeds {quota['metadata_items']}")


def show_limits(call: Call) -> Response:
    """GET /limits: what the project may have and has."""
    project = call.state.projects[call.caller.project]
    quota, used = project.compute_quota, server_usage(call.state, project.id)
    absolute = {
        "maxTotalInstances": quota["instances"],
        "maxTotalCores": quota["cores"],
        "maxTotalRAMSize": quota["ram"],
        "maxServerMeta": quota["metadata_items"],
        "maxTotalKeypairs": quota["key_pairs"],
        "maxServerGroups": quota["server_groups"],
        "maxServerGroupMembers": quota["server_group_members"],
        "totalRAMUsed": used["ram"],
        "totalCoresUsed": used["cores"],
        "totalInstancesUsed": used["instances"],
        "totalServerGroupsUsed": _groups_used(call.state, project.id),
    }
    return answer(200, {"limits": {"rate": [], "absolute": absolute}})


def _groups_used(state: State, project_id: str) -> int:
    return sum(1 for group in state.groups.values() if group.project_id == project_id)


def _project(call: Call, rule: str) -> Project | None:
    wanted = call.params["id"]
    if wanted != call.caller.project:
        require_admin(call, POLICY.format(f"os-quota-sets:{rule}"))
    return call.state.projects.get(wanted)


def _limits(call: Call, project: Project | None) -> dict[str, int]:
    limits = dict(project.compute_quota if project else STOCK_COMPUTE_QUOTA)
    if call.microversion < (2, 36):
        limits |= FIXED_OLD
    if call.microversion < (2, 57):
        limits |= FIXED_FILES
    return limits


def show_quota(call: Call) -> Response:
    """GET /os-quota-sets/{project}."""
    limits = _limits(call, _project(call, "show"))
    return answer(200, {"quota_set": {"id": call.params["id"], **limits}})


def show_quota_detail(call: Call) -> Response:
    """GET /os-quota-sets/{project}/detail: limits with what is used of them."""
    project = _project(call, "detail")
    used: dict[str, int] = {}
    if project:
        used = server_usage(call.state, project.id)
        used["server_groups"] = _groups_used(call.state, project.id)
    detail = {
        name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
        for name, limit in _limits(call, project).items()
    }
    return answer(200, {"quota_set": {"id": call.params["id"], **detail}})


def update_quota(call: Call) -> Response:
    """PUT /os-quota-sets/{project}: administrators only."""
    require_admin(call, POLICY.format("os-quota-sets:update"))
    project = call.state.projects.get(call.params["id"])
    if project is None:
        raise Refused(400, f"Project ID {call.params['id']} is not a valid project.")
    for name, limit in call.body("quota_set").items():
        if name in project.compute_quota:
            project.compute_quota[name] = int(limit)
    return answer(200, {"quota_set": _limits(call, project)})


CAPACITY_ROUTES = [
    Route("GET", "v2.1/limits", show_limits),
    Route("GET", "v2.1/os-quota-sets/{id}", show_quota),
    Route("GET", "v2.1/os-quota-sets/{id}/detail", show_quota_detail),
    Route("PUT", "v2.1/os-quota-sets/{id}", update_quota),
]
