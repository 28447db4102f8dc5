"""The control API of the machine runner: look at machines, and break them."""

import json
from typing import Any

from aiohttp import web

from slipway_node_agent.host import HostRefused
from slipway_sandbox.machines.machine import Machine
from slipway_sandbox.machines.runner import MachineRunner

_FAULTS = {"partitioned": bool, "slow_by": (int, float), "clock_skew": (int, float)}


def build_control(runner: MachineRunner) -> web.Application:
    """The API as an aiohttp application."""
    app = web.Application()
    control = _Control(runner)
    app.router.add_get("/machines", control.list_machines)
    app.router.add_get("/machines/{name}", control.show)
    app.router.add_post("/machines/{name}/stop", control.stop)
    app.router.add_post("/machines/{name}/start", control.start)
    app.router.add_post("/machines/{name}/faults", control.set_faults)
    app.router.add_get("/clusters", control.list_clusters)
    return app


class _Control:
    def __init__(self, runner: MachineRunner) -> None:
        self._runner = runner

    async def list_machines(self, _: web.Request) -> web.Response:
        described = [machine.describe() for machine in self._runner.machines.values()]
        return web.json_response({"machines": sorted(described, key=lambda entry: str(entry["name"]))})

    async def show(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        return web.json_response(machine.describe() | {"console": list(machine.host.console)})

    async def stop(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        part = str((await _body(request)).get("what", "machine"))
        try:
            if part == "machine":
                await machine.kill()
            else:
                await machine.stop(part)
        except HostRefused as refused:
            raise _problem(web.HTTPNotFound, refused.message) from refused
        return web.json_response(machine.describe())

    async def start(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        part = str((await _body(request)).get("what", "machine"))
        try:
            if part == "machine":
                await machine.reboot()
            else:
                machine.start(part)
        except HostRefused as refused:
            raise _problem(web.HTTPNotFound, refused.message) from refused
        return web.json_response(machine.describe())

    async def set_faults(self, request: web.Request) -> web.Response:
        machine = self._machine(request)
        body = await _body(request)
        for key, value in body.items():
            if key not in _FAULTS or not isinstance(value, _FAULTS[key]):  # type: ignore[arg-type]
                raise _problem(
                    web.HTTPBadRequest, f"{key}: known are partitioned (boolean), slow_by, clock_skew (seconds)"
                )
        machine.set_faults(**body)
        return web.json_response(machine.describe())

    async def list_clusters(self, _: web.Request) -> web.Response:
        world = self._runner.world
        described = []
        for cluster in world.etcd.all():
            plane = world.plane(cluster)
            described.append(
                {
                    "members": sorted(member.name for member in cluster.members.values()),
                    "running": sorted(member.name for member in cluster.running.values()),
                    "quorum": cluster.has_quorum,
                    "api_servers": plane.api_servers,
                    "controller_managers": len(plane.cluster_cidrs),
                    "schedulers": plane.schedulers,
                }
            )
        return web.json_response({"clusters": described})

    def _machine(self, request: web.Request) -> Machine:
        name = request.match_info["name"]
        try:
            return self._runner.find(name)
        except KeyError:
            raise _problem(web.HTTPNotFound, f"no machine has the server id or name {name}") from None


async def _body(request: web.Request) -> dict[str, Any]:
    if not request.can_read_body:
        return {}
    try:
        body = await request.json()
    except ValueError as broken:
        raise _problem(web.HTTPBadRequest, "the body is not JSON") from broken
    if not isinstance(body, dict):
        raise _problem(web.HTTPBadRequest, "the body is not a JSON object")
    return body


def _problem(kind: type[web.HTTPException], message: str) -> web.HTTPException:
    return kind(text=json.dumps({"error": message}), content_type="application/json")
