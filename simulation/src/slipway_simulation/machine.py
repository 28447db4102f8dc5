"""One machine: the real node agent's loops on an emulated host whose programs are simple functions of its files.

etcd has a quorum when a majority of its members run; an API server runs where kubeadm wrote its manifest and a kubelet
runs; a kubelet registers and renews its lease through the endpoint of its kubeconfig.
"""

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit

from slipway_node_agent.config import BOOTSTRAP_PATH, AgentConfig
from slipway_node_agent.effects import (
    Answer,
    Call,
    CallFailed,
    Doing,
    Effect,
    Execute,
    Executed,
    Fetch,
    Fetched,
    Probe,
    ProbeAnswer,
    Reply,
    Unpack,
    Wait,
)
from slipway_node_agent.host import UNIT_DIRECTORY, HostRefused
from slipway_node_agent.observations import observe_loop
from slipway_node_agent.plans import plan_loop
from slipway_sandbox.cloud.levers import ServerView
from slipway_sandbox.machines.command_lines import parse_flags, parse_unit
from slipway_sandbox.machines.etcd_cluster import EtcdClusters
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.image import BASE_UNITS, VERSIONS
from slipway_sandbox.machines.kubernetes import KubernetesModel
from slipway_sandbox.machines.loopback import is_local
from slipway_sandbox.machines.packages import unpack
from slipway_sandbox.machines.programs.kubeadm import Kubeadm, init_control_plane
from slipway_simulation.cluster_apis import ClusterApis
from slipway_simulation.ground import Ground
from slipway_simulation.journal import WHO
from slipway_simulation.programs import ControlPlane, Etcd, Kubelet

_PKI = "/etc/kubernetes/pki"


class Network(Protocol):
    """How agents reach Slipway."""

    async def call(self, address: str, effect: Call, certificate_pem: str | None) -> Reply | CallFailed:
        """One request of an agent."""
        ...


@dataclass(frozen=True)
class Neighbourhood:
    """What machines share and reach."""

    network: Network
    apis: ClusterApis
    ground: Ground
    etcd: EtcdClusters = field(default_factory=EtcdClusters)


class Machine:
    """One server's machine. Its disk is its own; its programs run while it is powered."""

    def __init__(self, view: ServerView, around: Neighbourhood, random: Random) -> None:
        clock, etcd = around.ground.clock, around.etcd
        self.name = view.name
        self.server_id = view.id
        self.boots = 0
        self.powered = False
        loop = asyncio.get_running_loop()
        self.host = EmulatedHost(view.name, next(iter(view.addresses), ""), clock.now, loop.time)
        self.host.attach(self)
        self.etcd = Etcd(self.host, etcd)
        self.control_plane = ControlPlane(self.host, etcd, clock)
        self.kubelet = Kubelet(self.host, around.apis, self.control_plane, random)
        self._network = around.network
        self._apis = around.apis
        self._random = random
        self._journal = around.ground.journal
        self._running: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._kubelet_task: asyncio.Task[Any] | None = None

    # -- power

    def first_boot(self, user_data: str) -> None:
        """cloud-init: only the agent's bootstrap file matters here."""
        config = json.loads(user_data.partition("\n")[2])
        for entry in config["write_files"]:
            if entry["path"] == BOOTSTRAP_PATH:
                self.host.write_file(entry["path"], entry["content"], 0o600)

    def power_on(self, boots: int) -> None:
        """A boot; what runs is ended first."""
        self.power_off()
        self.powered, self.boots = True, boots
        self.host.booted()
        self._running = {name for name, runs in BASE_UNITS.items() if runs}
        self._spawn(self._boot())

    def power_off(self) -> None:
        """Everything ends at once; the disk stays."""
        self.powered = False
        doomed, self._tasks = self._tasks, set()
        for task in doomed:
            task.cancel()
        self._kubelet_task = None
        self._running.clear()
        self.etcd.stop()
        self.control_plane.stop()

    def hang(self) -> None:
        """Everything stops, though its server says ACTIVE; the next boot revives it."""
        self.power_off()
        self.powered = True

    def destroy(self) -> None:
        """The disk is gone."""
        self.power_off()
        self.etcd.forget()

    # -- what its API server shows (cluster_apis.Controller)

    def api_model(self) -> KubernetesModel | None:
        """See Controller."""
        return self.control_plane.model if self.powered else None

    def api_ready(self) -> bool:
        """See Controller."""
        return self.powered and self.control_plane.is_ready()

    def serving_pem(self) -> str:
        """See Controller."""
        return self.host.read_file(f"{_PKI}/apiserver.crt") or ""

    def clients_ca_pem(self) -> str:
        """See Controller."""
        return self.host.read_file(f"{_PKI}/ca.crt") or ""

    # -- systemd (sandbox host's Units)

    def restart(self, name: str) -> None:
        """See Units."""
        text = self.host.read_file(UNIT_DIRECTORY + name)
        if text is None and name not in BASE_UNITS:
            raise HostRefused("UnitNotFound", f"there is no unit {name}")
        self._running.add(name)
        if name == "etcd.service":
            self.etcd.start(self._flags(text or ""))
        elif name == "kubelet.service":
            if self._kubelet_task is not None:
                self._kubelet_task.cancel()
            self._kubelet_task = self._spawn(self.kubelet.run(self._flags(text or "")))

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """See Units."""
        return {name: self._state(name) for name in names}

    def log(self, name: str) -> str:
        """See Units."""
        return self.etcd.trouble or "" if name == "etcd.service" else ""

    def _state(self, name: str) -> str:
        if name in self._running:
            return "activating" if name == "etcd.service" and not self.etcd.is_ready() else "active"
        return "inactive" if self.host.exists(UNIT_DIRECTORY + name) or name in BASE_UNITS else "absent"

    def _flags(self, text: str) -> dict[str, str]:
        return parse_flags(parse_unit([text], self.host.read_file).exec_start[1:])

    # -- the agent

    async def _boot(self) -> None:
        await asyncio.sleep(self._random.uniform(1.0, 4.0))
        if not await self._install():
            return
        for name in sorted(path.removeprefix(UNIT_DIRECTORY) for path in self.host.disk.folder(UNIT_DIRECTORY)):
            self.restart(name)
        config = AgentConfig(random=Random(self._random.random()))
        self._spawn(self._drive(plan_loop(self.host, config)))
        self._spawn(self._drive(observe_loop(self.host, config)))

    async def _install(self) -> bool:
        """As the installer in user data does it: until it succeeds."""
        text = self.host.read_file(BOOTSTRAP_PATH)
        if text is None:
            return False
        bootstrap = json.loads(text)
        ask = Call("GET", "provisioner", "/v1/agent/program", bootstrap["url"], "")
        while True:
            answer = await self._network.call(self.host.address, ask, None)
            if isinstance(answer, Reply) and answer.status == 200:
                program = (answer.body or {}).get("program", "")
                return bool(hashlib.sha256(program.encode()).hexdigest() == bootstrap["program_sha256"])
            await asyncio.sleep(self._random.uniform(1.0, 5.0))

    async def _drive(self, loop: Doing[object]) -> None:
        answer: Answer = None
        while True:
            answer = await self._perform(loop.send(answer))

    async def _perform(self, effect: Effect) -> Answer:
        if isinstance(effect, Wait):
            await asyncio.sleep(effect.seconds)
            return None
        if isinstance(effect, Call) and effect.base == "etcd":
            return self.host.loopback.call(effect, self.host.disk, self.host.now())
        if isinstance(effect, Call):
            certificate = self.host.read_file(effect.cert_path) if effect.cert_path else None
            return await self._network.call(self.host.address, effect, certificate)
        if isinstance(effect, Probe):
            return self._probe(effect)
        if isinstance(effect, Fetch):
            self.host.disk.install(effect.path, effect.sha256, effect.mode, effect.url)
            return Fetched(effect.sha256)
        if isinstance(effect, Unpack):
            return unpack(self.host.disk, effect)
        await asyncio.sleep(self._random.uniform(0.1, 1.0))
        return self._execute(effect)

    def _probe(self, effect: Probe) -> ProbeAnswer:
        if is_local(urlsplit(effect.url).hostname or ""):
            return self.host.loopback.probe(effect, self.host.disk, self.host.now())
        ready = self.etcd.answers(effect.url) or self._apis.is_ready(effect.url)
        return ProbeAnswer(200, "200 OK") if ready else ProbeAnswer(None, "connection refused")

    def _execute(self, effect: Execute) -> Executed:
        if effect.argv[1:] == ("--version",) and effect.argv[0] in VERSIONS:
            return Executed(0, VERSIONS[effect.argv[0]])
        if effect.argv[0].endswith("/kubeadm") and effect.argv[1:4] == ("init", "phase", "control-plane"):
            try:
                return Executed(0, init_control_plane(self.host, effect.argv[effect.argv.index("--config") + 1]))
            except Kubeadm as failure:
                return Executed(1, str(failure))
        return Executed(127, f"{effect.argv[0]}: command not found")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        context = copy_context()
        context.run(WHO.set, self.name)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._journal.violated(f"a program of {self.name} crashed: {error!r}")
