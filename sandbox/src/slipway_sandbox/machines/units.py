"""systemd of an emulated host: units that run emulated programs, are restarted when they end, and start at boot."""

import asyncio
import posixpath
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from slipway_node_agent.host import UNIT_DIRECTORY, HostRefused
from slipway_sandbox.machines.command_lines import UnitFile, parse_unit
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import Exited, Process, Program, describe_crash, for_ever
from slipway_sandbox.machines.world import World

FindProgram = Callable[[Process], Program | None]

_LINES_KEPT = 60


class UnitManager:
    """The units of one host. `enabled` survives a reboot, everything else ends with the boot."""

    def __init__(self, host: EmulatedHost, world: World, find_program: FindProgram) -> None:
        self._host = host
        self._world = world
        self._find_program = find_program
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._states: dict[str, str] = {}
        self._logs: dict[str, deque[str]] = {}
        self.enabled: set[str] = {name for name, started in host.image.units.items() if started}

    def start_enabled(self) -> None:
        """What happens at boot."""
        for name in sorted(self.enabled):
            if self._state(name) != "absent":
                self.start(name)

    def restart(self, name: str) -> None:
        """Enables the unit and starts it anew; does not wait. Raises HostRefused when there is no such unit."""
        self.enabled.add(name)
        self.start(name)

    def start(self, name: str) -> None:
        """Starts the unit, ending a present run first. Raises HostRefused when there is no such unit."""
        self._require(name)
        previous = self._tasks.get(name)
        if previous is not None:
            previous.cancel()
        self._states[name] = "activating"
        self._tasks[name] = asyncio.create_task(self._supervise(name, previous), name=f"{self._host.name}/{name}")

    async def stop(self, name: str) -> None:
        """Ends the unit; it stays enabled. Raises HostRefused when there is no such unit."""
        self._require(name)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._states[name] = "inactive"

    def stop_soon(self, name: str) -> None:
        """Ends the unit without waiting for its end. Raises HostRefused when there is no such unit."""
        self._require(name)
        task = self._tasks.get(name)
        if task is not None:
            task.cancel()
        self._states[name] = "inactive"

    async def stop_all(self) -> None:
        """Ends everything at once, as a power cut does."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._states.clear()

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        return {name: self._state(name) for name in names}

    def log(self, name: str) -> str:
        return "\n".join(self._logs.get(name, ()))

    def running(self) -> list[str]:
        """Names of the units that are active."""
        return sorted(name for name, state in self._states.items() if state == "active")

    def _state(self, name: str) -> str:
        if name in self._states:
            return self._states[name]
        return "inactive" if self._exists(name) else "absent"

    def _exists(self, name: str) -> bool:
        return name in self._host.image.units or self._host.exists(UNIT_DIRECTORY + name)

    def _require(self, name: str) -> None:
        if not self._exists(name):
            raise HostRefused("UnitNotFound", f"Unit {name} not found.")

    async def _supervise(self, name: str, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await asyncio.wait([previous])
        while True:
            try:
                unit = self._load(name)
            except ValueError as error:
                self._print(name, str(error))
                self._states[name] = "failed"
                return
            self._states[name] = "activating"
            failed = await self._run(name, unit)
            if unit.restart == "no" or (unit.restart == "on-failure" and not failed):
                self._states[name] = "failed" if failed else "inactive"
                return
            self._states[name] = "activating"
            await asyncio.sleep(max(unit.restart_seconds, self._world.pace.program_start))

    async def _run(self, name: str, unit: UnitFile) -> bool:
        """One run; True when it failed."""
        process = Process(
            host=self._host,
            world=self._world,
            argv=unit.exec_start,
            prepare=unit.exec_start_pre,
            environment=unit.environment,
            print=lambda line: self._print(name, line),
            ready=lambda: self._states.__setitem__(name, "active"),
        )
        try:
            self._require_program(name, unit.exec_start[0])
            program = self._find_program(process)
            await asyncio.sleep(self._world.pace.program_start)
            if unit.type != "notify" or program is None:
                process.ready()
            await (program.run() if program else for_ever())
        except Exception as error:  # noqa: BLE001 whatever it is, it ends this program and no other
            self._print(name, describe_crash(error))
            return True
        return False

    def _require_program(self, name: str, path: str) -> None:
        if self._host.find_program(path) is None:
            raise Exited(f"{name}: Failed at step EXEC spawning {path}: No such file or directory")

    def _load(self, name: str) -> UnitFile:
        text = self._host.read_file(UNIT_DIRECTORY + name)
        if text is None:
            return UnitFile(("/usr/bin/" + name.removesuffix(".service"),), type="notify", restart="always")
        drop_ins = [
            self._host.read_file(path) or ""
            for path in self._host.disk.folder(f"{UNIT_DIRECTORY}{name}.d")
            if path.endswith(".conf") and posixpath.basename(posixpath.dirname(path)) == f"{name}.d"
        ]
        return parse_unit([text, *drop_ins], self._host.read_file)

    def _print(self, name: str, line: str) -> None:
        self._logs.setdefault(name, deque(maxlen=_LINES_KEPT)).append(line)
        self._host.print(f"{name}: {line}")
