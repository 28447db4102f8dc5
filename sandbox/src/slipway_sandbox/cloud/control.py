"""The control API under `/_control`: the levers of the cloud, over HTTP. No token: it is not part of the cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from slipway_sandbox.cloud.faults import parse_fault
from slipway_sandbox.cloud.levers import Levers
from slipway_sandbox.cloud.messages import Request, Response, answer

Params = Mapping[str, str]
Operation = Callable[[Levers, Request, Params], Response]


def list_servers(cloud: Levers, _request: Request, _params: Params) -> Response:
    """Every server, with its user data in clear."""
    return answer(200, {"servers": [asdict(view) for view in cloud.servers_view()]})


def kill_server(cloud: Levers, request: Request, params: Params) -> Response:
    """`{"mode": "shutoff" | "error" | "vanish"}`."""
    cloud.kill_server(params["id"], request.json().get("mode", "shutoff"))
    return answer(204)


def delete_server(cloud: Levers, _request: Request, params: Params) -> Response:
    """Gone at once, behind its owner's back."""
    cloud.kill_server(params["id"], "vanish")
    return answer(204)


def append_console(cloud: Levers, request: Request, params: Params) -> Response:
    """The body is text for the console log."""
    cloud.append_console(params["id"], request.body.decode(errors="replace"))
    return answer(204)


def delete_port(cloud: Levers, _request: Request, params: Params) -> Response:
    """Gone at once, whoever uses it."""
    cloud.delete_port(params["id"])
    return answer(204)


def delete_balancer(cloud: Levers, _request: Request, params: Params) -> Response:
    """Gone at once, with everything in it."""
    cloud.delete_balancer(params["id"])
    return answer(204)


def break_balancer(cloud: Levers, _request: Request, params: Params) -> Response:
    """In ERROR from now on."""
    cloud.break_balancer(params["id"])
    return answer(204)


def set_member_health(cloud: Levers, request: Request, params: Params) -> Response:
    """`{"operating_status": "ONLINE" | "ERROR" | null}`."""
    cloud.set_member_health(params["id"], request.json().get("operating_status"))
    return answer(204)


def set_host(cloud: Levers, request: Request, params: Params) -> Response:
    """`{"up": false}`."""
    cloud.set_host_up(params["name"], up=bool(request.json().get("up", False)))
    return answer(204)


def set_quota(cloud: Levers, request: Request, params: Params) -> Response:
    """`{"instances": 5, "port": 10}`."""
    cloud.set_quota(params["project"], request.json())
    return answer(204)


def set_times(cloud: Levers, request: Request, _params: Params) -> Response:
    """`{"build": 30, "balancer_create": 0}`, in seconds."""
    cloud.set_times(request.json())
    return answer(204)


def revoke_tokens(cloud: Levers, request: Request, _params: Params) -> Response:
    """`{"user": "demo"}`, or `{}` for all."""
    return answer(200, {"revoked": cloud.revoke_tokens(request.json().get("user"))})


def fail_builds(cloud: Levers, request: Request, _params: Params) -> Response:
    """`{"count": 2, "no_valid_host": true}`."""
    body = request.json()
    cloud.fail_next_builds(int(body.get("count", 1)), no_valid_host=bool(body.get("no_valid_host", False)))
    return answer(204)


def list_faults(cloud: Levers, _request: Request, _params: Params) -> Response:
    """Every armed fault and the builds that will fail."""
    trouble = asdict(cloud.state.trouble)
    return answer(200, {"faults": [fault.view() for fault in cloud.faults.rules], "builds": trouble})


def add_fault(cloud: Levers, request: Request, _params: Params) -> Response:
    """One fault; the fields are those of `Fault`."""
    return answer(201, {"fault": cloud.arm(parse_fault(request.json())).view()})


def clear_faults(cloud: Levers, _request: Request, _params: Params) -> Response:
    """All faults, failing builds included."""
    cloud.faults.clear()
    cloud.fail_next_builds(0)
    cloud.fail_next_builds(0, no_valid_host=True)
    return answer(204)


def clear_fault(cloud: Levers, _request: Request, params: Params) -> Response:
    """One fault."""
    cloud.faults.clear(int(params["id"]))
    return answer(204)


def show_summary(cloud: Levers, _request: Request, _params: Params) -> Response:
    """How many resources each project has."""
    return answer(200, {"projects": cloud.summary()})


class _Operations:
    """Control operations by method and path."""

    def __init__(self, table: dict[tuple[str, str], Operation]) -> None:
        self._table = [(method, path.split("/"), operation) for (method, path), operation in table.items()]

    def find(self, method: str, path: str) -> tuple[Operation, Params] | None:
        """The operation with its parameters."""
        segments = path.strip("/").split("/")
        for wanted, template, operation in self._table:
            pairs = list(zip(template, segments, strict=False))
            fits = len(template) == len(segments) and all(t == s or t.startswith("{") for t, s in pairs)
            if wanted == method and fits:
                return operation, {t[1:-1]: s for t, s in pairs if t.startswith("{")}
        return None


CONTROL_ROUTES = _Operations(
    {
        ("GET", "servers"): list_servers,
        ("DELETE", "servers/{id}"): delete_server,
        ("POST", "servers/{id}/kill"): kill_server,
        ("POST", "servers/{id}/console"): append_console,
        ("DELETE", "ports/{id}"): delete_port,
        ("DELETE", "load-balancers/{id}"): delete_balancer,
        ("POST", "load-balancers/{id}/break"): break_balancer,
        ("POST", "members/{id}"): set_member_health,
        ("POST", "hosts/{name}"): set_host,
        ("POST", "projects/{project}/quota"): set_quota,
        ("POST", "times"): set_times,
        ("POST", "tokens/revoke"): revoke_tokens,
        ("POST", "builds/fail"): fail_builds,
        ("GET", "faults"): list_faults,
        ("POST", "faults"): add_fault,
        ("DELETE", "faults"): clear_faults,
        ("DELETE", "faults/{id}"): clear_fault,
        ("GET", "summary"): show_summary,
    }
)
