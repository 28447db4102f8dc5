"""One machine: a host with its disk, powered on and off as its server is."""

import asyncio
import json
import posixpath
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from slipway_node_agent.cloud_config import UNIT_NAME
from slipway_sandbox.machines.cloud_init import CloudConfig
from slipway_sandbox.machines.commands import run_command
from slipway_sandbox.machines.files import FolderDisk
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Process, Program
from slipway_sandbox.machines.programs.agent import Agent, is_agent
from slipway_sandbox.machines.programs.etcd import Etcd
from slipway_sandbox.machines.programs.kubelet import Kubelet
from slipway_sandbox.machines.programs.real import RealEtcd
from slipway_sandbox.machines.units import UnitManager
from slipway_sandbox.machines.world import World

_PROGRAMS: Mapping[str, type[Program]] = {"etcd": Etcd, "kubelet": Kubelet}
_REAL_PROGRAMS: Mapping[str, type[Program]] = {"etcd": RealEtcd, "kubelet": Kubelet}
_PARTS = {"agent": UNIT_NAME, "kubelet": "kubelet.service", "etcd": "etcd.service"}


class Machine:
    """An emulated machine. `dead` is a machine that a test stopped though its server says ACTIVE."""

    def __init__(self, server_id: str, name: str, address: str, zone: str, config: CloudConfig, world: World) -> None:
        self.server_id = server_id
        self.name = name
        self.zone = zone
        disk = FolderDisk(world.binaries.hosts / server_id) if world.binaries else None
        self.host = EmulatedHost(
            name, address, world.now, lambda: world.monotonic() * world.pace.agent_speed, disk, world.image
        )
        self.units = UnitManager(self.host, world, self._find_program)
        self.host.attach(self.units)
        self.powered = False
        self.dead = False
        self._config = config
        self._world = world
        self._first_boot = True
        self._boot: asyncio.Task[None] | None = None
        self._power = asyncio.Lock()

    async def power_on(self) -> None:
        """Boots; nothing happens when it runs."""
        async with self._power:
            if not self.powered:
                self._start_boot()

    async def power_off(self) -> None:
        """Ends everything at once; the disk stays."""
        async with self._power:
            self.powered = False
            await self._halt()

    async def reboot(self) -> None:
        """A new boot with the same disk."""
        async with self._power:
            await self._halt()
            self._start_boot()

    async def kill(self) -> None:
        """The machine hangs: all of it stops, its server stays ACTIVE. A reboot by the cloud revives it."""
        async with self._power:
            # First, so that whoever looks meanwhile sees no machine that should be powered on.
            self.powered, self.dead = True, True
            await self._halt()

    async def stop(self, part: str) -> None:
        """Stops one unit: agent, kubelet, etcd or a unit's name. Containers go on when their kubelet stops.

        Raises HostRefused when the machine has no such unit.
        """
        await self.units.stop(_PARTS.get(part, part))

    def start(self, part: str) -> None:
        """Starts one unit again. Raises HostRefused when the machine has no such unit."""
        self.units.start(_PARTS.get(part, part))

    def set_faults(
        self, *, partitioned: bool | None = None, slow_by: float | None = None, clock_skew: float | None = None
    ) -> None:
        """Changes what is wrong with the machine; seconds; None leaves a value as it is."""
        if partitioned is not None:
            self.host.faults.partitioned = partitioned
        if slow_by is not None:
            self.host.faults.slow_by = slow_by
        if clock_skew is not None:
            self.host.skew = timedelta(seconds=clock_skew)

    def destroy(self) -> None:
        """The disk is gone, and with it what an etcd member kept. The machine must be powered off."""
        for path in self.host.disk.folder("/"):
            if posixpath.basename(path) == "db" and "/member/snap" in path:
                kept = json.loads(self.host.read_file(path) or "{}")
                self._world.etcd.forget_data(kept["cluster"], kept["member"])
        self.host.disk.destroy()

    def describe(self) -> dict[str, Any]:
        """State for people; no file contents."""
        return {
            "server_id": self.server_id,
            "name": self.name,
            "address": self.host.address,
            "zone": self.zone,
            "powered": self.powered,
            "dead": self.dead,
            "boot_id": self.host.boot_id(),
            "running_units": self.units.running(),
            "pods": sorted(pod.name for pod in self.host.containers.running.values()),
            "faults": {
                "partitioned": self.host.faults.partitioned,
                "slow_by": self.host.faults.slow_by,
                "clock_skew": self.host.skew.total_seconds(),
            },
        }

    def _start_boot(self) -> None:
        self.powered, self.dead = True, False
        self.host.booted()
        self._boot = asyncio.create_task(self._run_boot(), name=f"{self.name}/boot")

    async def _halt(self) -> None:
        if self._boot is not None:
            self._boot.cancel()
            await asyncio.wait([self._boot])
            self._boot = None
        self.host.power_is_cut = True
        await self.units.stop_all()
        await self.host.containers.end_all()

    async def _run_boot(self) -> None:
        await asyncio.sleep(self._world.pace.boot)
        self.host.print("Linux version 6.1.0-emulated")
        self.units.start_enabled()
        if self._first_boot:
            self._first_boot = False
            self._init()

    def _init(self) -> None:
        """cloud-init, once in the machine's life."""
        for entry in self._config.files:
            self.host.write_file(entry.path, entry.content, entry.mode)
        for argv in self._config.commands:
            ended = run_command(self.host, self.units, argv)
            if ended.exit_code != 0:
                self.host.print(f"cloud-init: {posixpath.basename(argv[0])}: {ended.output}")
        self.host.print("cloud-init finished")

    def _find_program(self, process: Process) -> Program | None:
        if is_agent(process.argv):
            return Agent(process, lambda argv: run_command(self.host, self.units, argv))
        programs = _REAL_PROGRAMS if self._world.binaries else _PROGRAMS
        program = programs.get(posixpath.basename(process.argv[0]))
        return program(process) if program else None
