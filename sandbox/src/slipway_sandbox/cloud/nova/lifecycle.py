"""What happens to a server over time: scheduling, spawning, failing, stopping, starting, dying."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.neutron.binding import bind_port, delete_port, unbind_port
from slipway_sandbox.cloud.nova.placing import decide_host
from slipway_sandbox.cloud.state import State, iso_z

NO_VALID_HOST = "No valid host was found. There are not enough hosts available."


def begin_build(state: State, server: Server) -> None:
    """Plan the build of a new server: placed after the scheduling time, running after the build time."""
    if state.trouble.no_valid_host > 0:
        state.trouble.no_valid_host -= 1
        server.broken_by = "no-valid-host"
    elif state.trouble.failing > 0:
        state.trouble.failing -= 1
        server.broken_by = "spawn"
    elif server.metadata.get("oslab_spawn") == "error":
        server.broken_by = "spawn"
    state.agenda.at(state.now() + state.times.schedule, lambda when: _schedule(state, server, when))


def build_time(state: State, server: Server) -> timedelta:
    """How long the build takes; the server's metadata `oslab_spawn=<seconds>` overrides the cloud's."""
    try:
        return timedelta(seconds=float(server.metadata["oslab_spawn"]))
    except (KeyError, ValueError):
        return state.times.build


def _building(server: Server) -> bool:
    return server.vm_state == "building" and server.task_state != "deleting"


def _schedule(state: State, server: Server, when: datetime) -> None:
    if not _building(server):
        return
    host = None if server.broken_by == "no-valid-host" else decide_host(state, server)
    if host is None:
        fail(server, when, NO_VALID_HOST)
        return
    ports = [state.network["port"].get(link.port_id) for link in server.links]
    if any(port is None or port["device_id"] for port in ports):
        _lose_port(state, server, when)
        return
    server.host, server.task_state, server.updated = host, "spawning", when
    for link in server.links:
        bind_port(state, link.port_id, server.id, host, when)
    state.agenda.at(when + build_time(state, server), lambda later: _spawn(state, server, later))


def _lose_port(state: State, server: Server, when: datetime) -> None:
    """End a build whose port is gone or taken.

    Nova looks at a port when it accepts a request and binds it only when the server has a host: of two
    requests in that gap both are accepted. Seen on a real one: the second ends in ERROR, and its clean-up
    takes the port from the first, which stays ACTIVE without it.
    """
    for link in server.links:
        port = state.network["port"].get(link.port_id)
        if port is not None and port["device_id"]:
            unbind_port(state, link.port_id, port["device_id"], when)
    server.links = []
    fail(
        server,
        when,
        f"Build of instance {server.id} aborted: Failed to allocate the network(s), not rescheduling.",
    )


def _spawn(state: State, server: Server, when: datetime) -> None:
    if not _building(server):
        return
    if server.broken_by == "spawn":
        _release_ports(state, server, when)
        server.host = None
        fail(
            server,
            when,
            "Exceeded maximum number of retries. Exceeded max scheduling attempts 3 for instance"
            f" {server.id}. Last exception: Failed to deploy instance: oslab_spawn=error",
        )
        return
    server.vm_state, server.task_state, server.power_state = "active", None, 1
    server.launched_at = server.updated = when
    server.boots = 1


def fail(server: Server, when: datetime, message: str, code: int = 500) -> None:
    """Put a server into ERROR with a fault that says why."""
    server.vm_state, server.task_state, server.updated = "error", None, when
    server.fault = {"code": code, "created": iso_z(when), "message": message}


def _release_ports(state: State, server: Server, when: datetime) -> None:
    for link in server.links:
        unbind_port(state, link.port_id, server.id, when)
    server.links = [link for link in server.links if not link.made_by_nova or _drop(state, link.port_id)]


def _drop(state: State, port_id: str) -> bool:
    delete_port(state, port_id)
    return False


def begin_task(
    state: State,
    server: Server,
    task: str,
    takes: timedelta,
    finish: Callable[[datetime], None],
) -> None:
    """Start a task; `finish` runs at its end unless another task took over or the server is gone.

    On a host that is down it never ends: nobody there takes the request.
    """
    server.task_state, server.updated = task, state.now()

    def conclude(when: datetime) -> None:
        if server.task_state == task and not server.deleted:
            server.task_state, server.updated = None, when
            finish(when)

    if server.host is None or server.host.up:
        state.agenda.at(state.now() + takes, conclude)


def begin_stop(state: State, server: Server) -> None:
    """Power a server off."""

    def finish(_when: datetime) -> None:
        server.vm_state, server.power_state = "stopped", 4

    begin_task(state, server, "powering-off", state.times.stop, finish)


def begin_boot(state: State, server: Server, task: str, takes: timedelta) -> None:
    """Power a server on, or reboot it: either way it boots once more."""

    def finish(_when: datetime) -> None:
        server.vm_state, server.power_state = "active", 1
        server.boots += 1

    begin_task(state, server, task, takes, finish)


def begin_delete(state: State, server: Server) -> None:
    """Delete a server; it is shown as `deleting` until the delete time is over."""
    state.agenda.at(state.now() + state.times.delete, lambda when: vanish(state, server, when))
    server.task_state, server.updated = "deleting", state.now()


def vanish(state: State, server: Server, when: datetime) -> None:
    """Remove a server at once: its ports are released, or deleted where Nova made them."""
    if server.deleted:
        return
    _release_ports(state, server, when)
    server.vm_state, server.task_state, server.power_state = "deleted", None, 0
    server.terminated_at = server.updated = when
    server.links = []
    group = state.groups.get(server.group_id or "")
    if group and server.id in group.members:
        group.members.remove(server.id)
