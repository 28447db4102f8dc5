"""One region with all that belongs to it, put together from one seed."""

import asyncio
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slipway_addon_manager.store
import slipway_api.store
import slipway_healer.store
import slipway_monitor.store
import slipway_provisioner.store
from slipway_api.domain.problems import Problem
from slipway_chassis import crash
from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.values import Role
from slipway_sandbox.cloud.levers import KillMode
from slipway_sandbox.cloud.messages import Request
from slipway_sandbox.cloud.model import Server
from slipway_sandbox.cloud.testing import Tenant
from slipway_simulation import services
from slipway_simulation.bus import ChaosBus
from slipway_simulation.cloud_side import CloudSide
from slipway_simulation.cluster_apis import ClusterApis
from slipway_simulation.ground import Ground
from slipway_simulation.invariants import Invariants
from slipway_simulation.journal import Journal
from slipway_simulation.killing import Killer
from slipway_simulation.machine import Neighbourhood
from slipway_simulation.machines import AgentNetwork, MachineRoom
from slipway_simulation.processes import Running, ServiceProcess
from slipway_simulation.services import REGION, Surroundings
from slipway_simulation.sight import Sight
from slipway_simulation.signing_side import Signing
from slipway_simulation.storage import Store
from slipway_simulation.users import User
from slipway_simulation.virtual_time import LoopClock

EXPECTED = (crash.Crashed, Problem, RetryLater, GiveUp)
"""What may end unheard when the process that asked is killed: deaths and refusals. Anything else is a mistake."""

RESTORE_TAKES = 5.0
"""Seconds that a service is stopped for the restore of its database."""

STORES: dict[str, Any] = {
    "api": slipway_api.store.metadata,
    "provisioner": slipway_provisioner.store.metadata,
    "healer": slipway_healer.store.metadata,
    "monitor": slipway_monitor.store.metadata,
    "addon_manager": slipway_addon_manager.store.metadata,
}


@dataclass
class World:
    """Everything. Must be made inside a running virtual loop; `open` before use, `close` after."""

    seed: int
    folder: Path
    echo: bool = False
    wrap_cloud: Any = None
    """What a test of the simulation puts around the provisioner's adapter to the cloud."""
    processes: dict[str, ServiceProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        clock = LoopClock(loop)
        self.journal = Journal(clock.now, self.echo)
        self.ground = Ground(self.seed, clock, self.journal)
        self.bus = ChaosBus(self.ground)
        self.cloud = CloudSide(self.folder, self.ground)
        self.apis = ClusterApis(self.cloud.cloud, self.ground)
        self.around = Surroundings(self.folder, clock, self.cloud, self.apis, self.ground.chance("services"))
        if self.wrap_cloud is not None:
            self.around.wrap_cloud = self.wrap_cloud
        self.killer = Killer(self.ground.chance("killer"))

    async def open(self) -> None:
        """Make the databases, start everything."""
        self.journal.listen()
        asyncio.get_running_loop().set_exception_handler(self._unheard)
        for name, metadata in STORES.items():
            store = Store(self.folder, name, metadata)
            await store.open()
            self.processes[name] = ServiceProcess(name, self._build, store, self.bus, self.ground)
        self._surround()
        crash.arm(self.killer.passing)
        for name, process in self.processes.items():
            process.start()
            self.bus.attach(process, process.service.consumes, "global" if name == "api" else REGION)

    def _surround(self) -> None:
        """Machines, a user, somebody else's things, and the eyes on all of it."""
        cloud, provisioner, monitor = self.cloud.cloud, self.processes["provisioner"], self.processes["monitor"]
        self.network = AgentNetwork(provisioner, monitor, self.around.authorities, self.ground)
        neighbourhood = Neighbourhood(self.network, self.apis, self.ground)
        self.room = MachineRoom(cloud, neighbourhood)
        self.invariants = Invariants(cloud, provisioner.store, self.journal, etcd=neighbourhood.etcd)
        tenant = Tenant(cloud)
        self.invariants.furnish_foreign(tenant)
        self.user = User(self.processes["api"], tenant, self.journal)
        self.stranger = User(self.processes["api"], Tenant(cloud, "sandbox-other"), self.journal)
        self.sight = Sight(self.processes["api"].store, provisioner.store, cloud, self.room)
        cloud.seen = self._after_request

    def _after_request(self, request: Request) -> None:
        self.invariants.check(request)
        asyncio.get_running_loop().call_soon(self.room.follow)

    def _build(self, process: ServiceProcess) -> Running:
        signing = Signing(self.processes["provisioner"])
        match process.name:
            case "api":
                return services.build_api(self.around, process)
            case "provisioner":
                return services.build_provisioner(self.around, process)
            case "healer":
                return services.build_healer(self.around, process)
            case "monitor":
                return services.build_monitor(self.around, process, signing)
            case _:
                return services.build_addon_manager(self.around, process, signing)

    def _unheard(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, EXPECTED):
            self.journal.violated(f"nobody heard of {context.get('message')}: {error!r}")

    def has_begun(self) -> bool:
        """Whether the cluster is known and has its keys."""
        return bool(self.processes["provisioner"].store.ask("SELECT 1 FROM cluster_keys LIMIT 1"))

    def restore(self, name: str, picture: sqlite3.Connection) -> None:
        """A service's database goes back to an earlier picture; the service is stopped for it, and starts again."""
        process = self.processes[name]
        self.journal.say("A database goes back to an old backup", service=name)
        process.kill("restore", RESTORE_TAKES)
        process.store.go_back(picture)
        self.bus.forgotten(name)
        if name == "provisioner":
            self.invariants.went_back()

    def strike(self, role: Role, mode: KillMode) -> None:
        """The server of a node of this role dies, if there is one that runs."""
        server = self._runs(role)
        if server is not None:
            self.journal.say("A server dies", name=server.name, how=mode)
            self.invariants.taken.add(server.id)
            self.cloud.cloud.kill_server(server.id, mode)
            asyncio.get_running_loop().call_soon(self.room.follow)

    def hang(self, role: Role) -> None:
        """The machine of a node of this role stops; the cloud calls its server ACTIVE. A reboot revives it."""
        server = self._runs(role)
        machine = self.room.machines.get(server.id) if server is not None else None
        if machine is not None:
            self.journal.say("A machine hangs", name=machine.name)
            machine.hang()

    def _runs(self, role: Role) -> Server | None:
        ours = [each for each in self.sight.our_servers() if f"-{role.value}-" in each.name]
        return next((each for each in ours if each.vm_state == "active"), None)

    async def pass_time(self, seconds: float) -> None:
        """Let everything happen for so long. Raises Violated."""
        await asyncio.sleep(seconds)
        self.journal.check()

    async def close(self) -> None:
        """End everything."""
        crash.arm(None)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()
        await asyncio.sleep(0)
        for process in self.processes.values():
            await process.store.close()
