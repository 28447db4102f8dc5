"""POST /servers/{id}/action: stop, start, reboot, console output, reset of the state."""

from __future__ import annotations

from collections.abc import Callable

from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.nova.lifecycle import begin_boot, begin_stop
from slipway_sandbox.cloud.nova.servers import POLICY, find_server
from slipway_sandbox.cloud.service import Call, Route, require_admin, require_role
from slipway_sandbox.cloud.state import iso_micro


def _require(server: Server, verb: str, vm_states: tuple[str, ...]) -> None:
    if server.vm_state not in vm_states:
        raise Refused(409, f"Cannot '{verb}' instance {server.id} while it is in vm_state {server.vm_state}")
    if server.task_state:
        raise Refused(409, f"Cannot '{verb}' instance {server.id} while it is in task_state {server.task_state}")


def _stop(call: Call, server: Server, _argument: Json) -> Response:
    require_role(call, POLICY.format("servers:stop"))
    _require(server, "stop", ("active", "error"))
    begin_stop(call.state, server)
    return answer(202)


def _start(call: Call, server: Server, _argument: Json) -> Response:
    require_role(call, POLICY.format("servers:start"))
    _require(server, "start", ("stopped",))
    begin_boot(call.state, server, "powering-on", call.state.times.stop)
    return answer(202)


def _reboot(call: Call, server: Server, argument: Json) -> Response:
    require_role(call, POLICY.format("servers:reboot"))
    hard = argument.get("type") == "HARD"
    _require(server, "reboot", ("active", "stopped", "error") if hard else ("active",))
    begin_boot(call.state, server, "rebooting_hard" if hard else "rebooting", call.state.times.reboot)
    return answer(202)


def _console(call: Call, server: Server, argument: Json) -> Response:
    require_role(call, POLICY.format("os-console-output"))
    if server.vm_state == "building":
        raise Refused(409, f"Instance {server.id} is not ready")
    length = argument.get("length")
    lines = server.console if length is None else server.console[-int(length) :]
    return answer(200, {"output": "\n".join(lines)})


def _reset_state(call: Call, server: Server, argument: Json) -> Response:
    require_admin(call, POLICY.format("os-admin-actions:reset_state"))
    wanted = argument.get("state")
    if wanted not in ("active", "error"):
        raise Refused(
            400,
            f"Invalid input for field/attribute state. Value: {wanted}. '{wanted}' is not one of ['active', 'error']",
        )
    server.vm_state, server.task_state, server.updated = wanted, None, call.state.now()
    return answer(202)


Action = Callable[[Call, Server, Json], Response]
ACTIONS: dict[str, Action] = {
    "os-stop": _stop,
    "os-start": _start,
    "reboot": _reboot,
    "os-getConsoleOutput": _console,
    "os-resetState": _reset_state,
}
RECORDED = {"os-stop": "stop", "os-start": "start", "reboot": "reboot"}


def act(call: Call) -> Response:
    """Run the one action that the body names."""
    body = call.request.json()
    name = next(iter(body), "")
    action = ACTIONS.get(name)
    if action is None:
        raise Refused(400, f"There is no such action: {name}")
    server = find_server(call)
    if server.vm_state == "building" and server.task_state == "scheduling":
        # Before a server has a cell, Nova shows it but cannot act on it.
        raise Refused(404, f"Instance {server.id} could not be found.")
    response = action(call, server, body[name] or {})
    if name in RECORDED:
        started = iso_micro(call.state.now())
        server.actions.append(
            {"action": RECORDED[name], "instance_uuid": server.id, "start_time": started, "message": None},
        )
    return response


ACTION_ROUTES = [Route("POST", "v2.1/servers/{id}/action", act)]
