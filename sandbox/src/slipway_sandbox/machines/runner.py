"""Keeps machines in step with the servers of a cloud, and the clusters on them under control."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from enum import StrEnum

from slipway_sandbox.machines.addresses import Addresses, AddressRefused
from slipway_sandbox.machines.binaries import Binaries
from slipway_sandbox.machines.cloud_init import CloudConfig, read_cloud_config
from slipway_sandbox.machines.machine import Machine
from slipway_sandbox.machines.servers import CloudAway, CloudServer, Servers
from slipway_sandbox.machines.world import Pace, World

_log = logging.getLogger(__name__)


class Step(StrEnum):
    """What to do with one machine."""

    NONE = "none"
    BUILD = "build"
    POWER_ON = "power on"
    POWER_OFF = "power off"
    REBOOT = "reboot"


def decide_step(server: CloudServer, *, exists: bool, powered: bool, known_boots: int) -> Step:
    """What the server's state asks of its machine. A machine whose server is in ERROR runs on, as a real one does."""
    if server.status == "ACTIVE":
        if not exists:
            return Step.BUILD
        if not powered:
            return Step.POWER_ON
        return Step.REBOOT if server.boots > known_boots else Step.NONE
    if server.status == "SHUTOFF" and powered:
        return Step.POWER_OFF
    return Step.NONE


class MachineRunner:
    """The machines of a cloud's servers. `machines` is by server id."""

    def __init__(self, servers: Servers, world: World, *, exclude_zones: Collection[str] = ()) -> None:
        self.world = world
        self.machines: dict[str, Machine] = {}
        self._servers = servers
        self._exclude_zones = frozenset(exclude_zones)
        self._addresses = Addresses()
        self._boots: dict[str, int] = {}
        self._configs: dict[str, CloudConfig | None] = {}

    def find(self, name: str) -> Machine:
        """By server id or name. Raises KeyError."""
        if name in self.machines:
            return self.machines[name]
        for machine in self.machines.values():
            if machine.name == name:
                return machine
        raise KeyError(name)

    async def look(self) -> None:
        """One pass over the cloud's servers. What the cloud does not say stays as it is."""
        try:
            servers = await asyncio.to_thread(self._servers.all)
            present = {server.id for server in servers}
            for server_id in [known for known in self.machines if known not in present]:
                if await asyncio.to_thread(self._servers.is_gone, server_id):
                    await self._remove(server_id)
        except CloudAway as away:
            _log.warning("Cloud not read: %s", away)
            return
        self._configs = {known: config for known, config in self._configs.items() if known in present}
        for server in servers:
            await self._follow(server)

    async def run(self, every: float) -> None:
        """Looks and steps the clusters' controllers until it is cancelled; a slow cloud is asked less often."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._control())
            while True:
                started = loop.time()
                await self._look_safely()
                took = loop.time() - started
                await asyncio.sleep(max(every, 3 * took))

    async def close(self) -> None:
        """Powers everything off and takes added addresses away."""
        for machine in self.machines.values():
            await machine.power_off()
        await self._addresses.release_all()
        await self.world.close()

    async def _look_safely(self) -> None:
        try:
            await self.look()
        except Exception:  # noqa: BLE001 one odd server must not stop all machines
            _log.exception("Look at the cloud failed; it is tried again")

    async def _control(self) -> None:
        while True:
            try:
                self.world.step_controllers()
            except Exception:  # noqa: BLE001 one odd object must not stop all clusters
                _log.exception("Controllers failed; they are tried again")
            await asyncio.sleep(self.world.pace.controllers)

    async def _follow(self, server: CloudServer) -> None:
        if server.zone in self._exclude_zones or not server.address:
            return
        if server.id not in self._configs:
            self._configs[server.id] = read_cloud_config(server.user_data)
        config = self._configs[server.id]
        if config is None:
            return
        machine = self.machines.get(server.id)
        known = self._boots.get(server.id, server.boots)
        step = decide_step(
            server, exists=machine is not None, powered=bool(machine and machine.powered), known_boots=known
        )
        if step is Step.BUILD:
            machine = await self._build(server, config)
        if machine is None or step is Step.NONE:
            return
        _log.info("Machine step=%s name=%s", step, server.name)
        self._boots[server.id] = server.boots
        if step in (Step.BUILD, Step.POWER_ON):
            await machine.power_on()
        elif step is Step.REBOOT:
            await machine.reboot()
        else:
            await machine.power_off()

    async def _build(self, server: CloudServer, config: CloudConfig) -> Machine | None:
        try:
            await self._addresses.ensure(server.address)
        except AddressRefused as refused:
            _log.error("%s", refused)
            return None
        machine = Machine(server.id, server.name, server.address, server.zone, config, self.world)
        self.machines[server.id] = machine
        return machine

    async def _remove(self, server_id: str) -> None:
        machine = self.machines.pop(server_id)
        self._boots.pop(server_id, None)
        _log.info("Machine removed name=%s", machine.name)
        await machine.power_off()
        machine.destroy()
        if all(other.host.address != machine.host.address for other in self.machines.values()):
            await self._addresses.release(machine.host.address)


@contextlib.asynccontextmanager
async def run_machines(
    servers: Servers,
    *,
    every: float = 1.0,
    pace: Pace | None = None,
    exclude_zones: Collection[str] = (),
    seed: int | None = None,
    binaries: Binaries | None = None,
) -> AsyncIterator[MachineRunner]:
    """Machines for the servers of a cloud until the block ends."""
    runner = MachineRunner(servers, World(pace=pace, seed=seed, binaries=binaries), exclude_zones=exclude_zones)
    task = asyncio.create_task(runner.run(every))
    try:
        yield runner
    finally:
        task.cancel()
        await asyncio.wait([task])
        await runner.close()
