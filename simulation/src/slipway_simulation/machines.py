"""Every server of the cloud that runs has a machine; and how its agent reaches Slipway."""

import asyncio
import json
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from slipway_monitor.agent_api import PeerIdentity
from slipway_node_agent.effects import Call, CallFailed, Reply
from slipway_provisioner.peers import PeerAuthorities
from slipway_sandbox.cloud.levers import ServerView
from slipway_sandbox.machines.certificates import decide_refusal, load
from slipway_simulation.cloud_side import WatchedCloud
from slipway_simulation.ground import Ground
from slipway_simulation.journal import WHO
from slipway_simulation.machine import Machine, Neighbourhood
from slipway_simulation.processes import Running, ServiceProcess, Unreachable

LATENCY = (0.001, 0.02)


class AgentNetwork:
    """Agents' way to provisioner and monitor: mutual TLS as its result, without the handshake."""

    def __init__(
        self, provisioner: ServiceProcess, monitor: ServiceProcess, authorities: PeerAuthorities, ground: Ground
    ) -> None:
        self.lost = 0.0
        """How often a request or its answer is lost on its way."""
        self._provisioner = provisioner
        self._monitor = monitor
        self._authorities = authorities
        self._clock = ground.clock
        self._random = ground.chance("network")
        self._journal = ground.journal

    async def call(self, address: str, effect: Call, certificate_pem: str | None) -> Reply | CallFailed:
        """One request of an agent; a machine without an address reaches nobody."""
        await asyncio.sleep(self._random.uniform(*LATENCY))
        if not address or self._random.random() < self.lost:
            return CallFailed("cannot connect")
        to_monitor = effect.base == "monitor"
        ask = self._to_monitor if to_monitor else self._to_provisioner
        process = self._monitor if to_monitor else self._provisioner
        try:
            reply = await process.call(lambda running: ask(running, effect, certificate_pem))
        except Unreachable as down:
            return CallFailed(str(down))
        except Exception as error:  # noqa: BLE001  an interface must not fail, whatever it is asked
            self._journal.violated(f"{process.name} failed to answer {effect.method} {effect.path}: {error!r}")
            return CallFailed("internal error")
        await asyncio.sleep(self._random.uniform(*LATENCY))
        return CallFailed("connection reset") if self._random.random() < self.lost else reply

    async def _to_provisioner(self, running: Running, effect: Call, certificate_pem: str | None) -> Reply:
        parts = urlsplit(effect.path)
        peer = None
        if certificate_pem is not None and (certificate := load(certificate_pem)) is not None:
            peer = self._authorities.identify(certificate)
        answer = await running.interfaces["agents"].dispatch(
            effect.method, parts.path, dict(parse_qsl(parts.query)), effect.body, peer
        )
        if isinstance(answer.body, bytes):
            return Reply(answer.status, {"program": answer.body.decode()})
        return Reply(answer.status, _through_json(answer.body), dict(answer.headers))

    async def _to_monitor(self, running: Running, effect: Call, certificate_pem: str | None) -> Reply:
        peer = None
        refusal = decide_refusal(certificate_pem or "", self._authorities.agents_pem, self._clock.now())
        if refusal is None and (certificate := load(certificate_pem or "")) is not None:
            names = {each.oid.dotted_string: str(each.value) for each in certificate.subject}
            peer = PeerIdentity(names["2.5.4.3"], names["2.5.4.10"])
        status, body = await running.interfaces["observations"].dispatch(
            effect.method, urlsplit(effect.path).path, {}, effect.body, peer
        )
        return Reply(status, _through_json(body))


class MachineRoom:
    """Follows the cloud: machines are made, powered and destroyed with their servers."""

    def __init__(self, cloud: WatchedCloud, neighbourhood: Neighbourhood) -> None:
        ground = neighbourhood.ground
        self.machines: dict[str, Machine] = {}
        self._cloud = cloud
        self._neighbourhood = neighbourhood
        self._clock = ground.clock
        self._random = ground.chance("machines")
        self._journal = ground.journal
        self._alarm: asyncio.TimerHandle | None = None
        neighbourhood.apis.machines = self

    def at(self, address: str) -> Machine | None:
        """The running machine with this address."""
        return next((m for m in self.machines.values() if m.powered and m.host.address == address), None)

    def named(self, name: str) -> Machine | None:
        """The running machine of this name."""
        return next((m for m in self.machines.values() if m.powered and m.name == name), None)

    def follow(self) -> None:
        """Look at the cloud, and again when its next event is due."""
        WHO.set("cloud")
        views = {view.id: view for view in self._cloud.servers_view() if view.user_data.startswith("#cloud-config")}
        for server_id in sorted(set(self.machines) - set(views)):
            self.machines.pop(server_id).destroy()
        for view in views.values():
            self._follow(view)
        if self._alarm is not None:
            self._alarm.cancel()
        due = self._cloud.state.agenda.next_due()
        if due is not None:
            delay = max(0.0, (due - self._clock.now()).total_seconds()) + 0.0005
            self._alarm = asyncio.get_running_loop().call_later(delay, self.follow)

    def _follow(self, view: ServerView) -> None:
        runs = view.power_state == 1 and view.status in ("ACTIVE", "ERROR")
        machine = self.machines.get(view.id)
        if machine is None:
            if not runs:
                return
            machine = self._make(view)
            self.machines[view.id] = machine
        if runs and (not machine.powered or machine.boots != view.boots):
            self._journal.say("Machine boots", name=view.name, server=view.id)
            machine.power_on(view.boots)
        elif not runs and machine.powered:
            self._journal.say("Machine stops", name=view.name, server=view.id)
            machine.power_off()

    def _make(self, view: ServerView) -> Machine:
        machine = Machine(view, self._neighbourhood, Random(self._random.random()))
        machine.first_boot(view.user_data)
        return machine


def _through_json(body: dict[str, Any] | None) -> dict[str, Any] | None:
    if body is None:
        return None
    read: dict[str, Any] = json.loads(json.dumps(body))
    return read
