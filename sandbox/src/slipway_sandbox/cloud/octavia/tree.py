"""The tree of Octavia objects: who belongs to whom, what is pending, how healthy it is."""

from __future__ import annotations

from datetime import datetime, timedelta

from slipway_sandbox.cloud.messages import Json, Refused
from slipway_sandbox.cloud.model import Balanced
from slipway_sandbox.cloud.neutron.binding import delete_port
from slipway_sandbox.cloud.service import Call
from slipway_sandbox.cloud.state import State

TITLES = {
    "loadbalancer": "Load Balancer",
    "listener": "Listener",
    "pool": "Pool",
    "member": "member",
    "healthmonitor": "Health Monitor",
}
FORBIDDEN = "Policy does not allow this request to be performed."
OWNED_PORT = "owned_port"


def require_balancer_role(call: Call) -> None:
    """Octavia's own role, which `member` alone does not include."""
    if not call.caller.roles & {"load-balancer_member", "admin"}:
        raise Refused(403, FORBIDDEN)


def find(call: Call, kind: str, wanted: str) -> Balanced:
    """An object of the caller's project, or Octavia's 404."""
    require_balancer_role(call)
    found = call.state.balanced.get(wanted)
    if found is None or found.kind != kind or not (call.caller.is_admin or found.project_id == call.caller.project):
        raise Refused(404, f"{TITLES[kind]} {wanted} not found.")
    return found


def children(state: State, kind: str, **place: str) -> list[Balanced]:
    """The objects of a kind at a place, e.g. `children(state, "member", pool_id=...)`."""
    return [
        item
        for item in state.balanced.values()
        if item.kind == kind and all(getattr(item, key) == value for key, value in place.items())
    ]


def monitor_of(state: State, pool_id: str) -> Balanced | None:
    """A pool's health monitor."""
    return next(iter(children(state, "healthmonitor", pool_id=pool_id)), None)


def require_mutable(state: State, balancer_id: str, subject: Balanced) -> None:
    """Octavia's 409 while any change of the same load balancer is under way, or after one has failed."""
    if state.balanced[balancer_id].provisioning == "ACTIVE":
        return
    raise Refused(409, f"{TITLES[subject.kind]} {subject.id} is immutable and cannot be updated.")


def begin_change(state: State, changing: list[Balanced], status: str) -> None:
    """Make objects of one load balancer PENDING, and with them everything above; settle it later."""
    balancer = state.balanced[changing[0].balancer_id]
    touched = {balancer.id: balancer}
    for item in changing:
        for above in (item.listener_id, item.pool_id):
            if above in state.balanced:
                touched[above] = state.balanced[above]
    for item in touched.values():
        item.provisioning = "PENDING_UPDATE"
    for item in changing:
        item.provisioning = status
        touched[item.id] = item
    _settle_later(state, list(touched.values()), state.times.balancer_update)


def begin_balancer(state: State, balancer: Balanced, status: str, takes: timedelta) -> None:
    """Make a whole load balancer PENDING; with PENDING_DELETE everything in it goes too."""
    balancer.provisioning = status
    touched = [balancer]
    if status == "PENDING_DELETE":
        touched = [item for item in state.balanced.values() if item.balancer_id == balancer.id]
        for item in touched:
            item.provisioning = status
    _settle_later(state, touched, takes)


def _settle_later(state: State, touched: list[Balanced], takes: timedelta) -> None:
    state.agenda.at(state.now() + takes, lambda when: _settle(state, touched, when))


def _settle(state: State, touched: list[Balanced], when: datetime) -> None:
    for item in touched:
        if item.provisioning == "PENDING_DELETE":
            forget(state, item)
        elif item.provisioning.startswith("PENDING"):
            item.provisioning, item.updated = "ACTIVE", when


def forget(state: State, item: Balanced) -> None:
    """Remove an object, with the VIP port that Octavia made itself."""
    state.balanced.pop(item.id, None)
    if item.kind == "loadbalancer" and item.body.get(OWNED_PORT):
        delete_port(state, item.body["vip_port_id"])


def operating_status(state: State, item: Balanced) -> str:
    """How healthy an object is: members as they were seen, everything above as their sum."""
    if item.provisioning == "PENDING_CREATE" or not item.body.get("admin_state_up", True):
        return "OFFLINE"
    if item.kind == "member":
        return _member_status(state, item)
    if item.kind == "pool":
        return _sum([operating_status(state, m) for m in children(state, "member", pool_id=item.id)])
    if item.kind == "loadbalancer":
        return _sum([operating_status(state, p) for p in children(state, "pool", balancer_id=item.id)])
    return "ONLINE"


def _member_status(state: State, member: Balanced) -> str:
    if monitor_of(state, member.pool_id or "") is None:
        return "NO_MONITOR"
    return member.health or "ONLINE"


def _sum(statuses: list[str]) -> str:
    counted = [status for status in statuses if status != "OFFLINE"]
    if counted and all(status == "ERROR" for status in counted):
        return "ERROR"
    if any(status in ("ERROR", "DEGRADED") for status in counted):
        return "DEGRADED"
    return "ONLINE"


def check_quota(state: State, project_id: str, quota: str, kind: str, asked: int = 1) -> None:
    """Octavia's 403 when a project may not have more of a kind."""
    limit = state.projects[project_id].balancer_quota[quota]
    used = sum(1 for item in state.balanced.values() if item.kind == kind and item.project_id == project_id)
    if 0 <= limit < used + asked:
        raise Refused(403, f"Quota has been met for resources: {quota}")


def ids(items: list[Balanced]) -> list[Json]:
    """References as Octavia writes them."""
    return [{"id": item.id} for item in items]
