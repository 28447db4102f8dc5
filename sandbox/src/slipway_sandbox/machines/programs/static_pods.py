"""The kubelet's static pods: started, restarted and ended as manifests come, change and go."""

import asyncio
import functools
import posixpath
from collections.abc import Callable

from slipway_sandbox.machines.containers import Containers
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.process import describe_crash, for_ever
from slipway_sandbox.machines.programs.containers import StaticPod, read_static_pod
from slipway_sandbox.machines.programs.control_plane import find_pod_program
from slipway_sandbox.machines.programs.real import RealPod, is_real
from slipway_sandbox.machines.world import World

_CRASH_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)


class StaticPods:
    """Follows the folder of manifests while its kubelet runs. The pods themselves outlive it, as containers do."""

    def __init__(self, host: EmulatedHost, world: World, folder: str, print_line: Callable[[str], None]) -> None:
        self._host = host
        self._world = world
        self._folder = folder
        self._print = print_line
        self._containers: Containers[StaticPod] = host.containers

    def running(self) -> list[StaticPod]:
        """The pods whose program runs."""
        return list(self._containers.running.values())

    async def run(self) -> None:
        """Follows the folder until it is cancelled."""
        if not self._folder:
            await for_ever()
        changed = asyncio.Event()
        unwatch = self._host.disk.watch(self._folder, changed.set)
        try:
            while True:
                changed.clear()
                await self._follow()
                await changed.wait()
        finally:
            unwatch()

    async def _follow(self) -> None:
        wanted = {
            path: text
            for path in self._host.disk.folder(self._folder)
            if posixpath.dirname(path) == posixpath.normpath(self._folder)
            and not posixpath.basename(path).startswith(".")
            and (text := self._host.read_file(path)) is not None
        }
        tasks = self._containers.tasks
        await self._containers.end([path for path, (text, _) in tasks.items() if wanted.get(path) != text])
        for path, text in wanted.items():
            if path not in tasks:
                tasks[path] = (text, asyncio.create_task(self._keep(path, text)))

    async def _keep(self, path: str, text: str) -> None:
        """Runs one pod; starts it again, later each time, when it crashes."""
        for crashes in range(1_000_000):
            await asyncio.sleep(self._world.pace.static_pod_start)
            try:
                pod = read_static_pod(self._host, text)
                await self._run(path, pod)
            except Exception as error:  # noqa: BLE001 whatever it is, it ends this pod and no other
                self._print(f"static pod {posixpath.basename(path)}: {describe_crash(error)}")
            await asyncio.sleep(_CRASH_PAUSES[min(crashes, len(_CRASH_PAUSES) - 1)])

    async def _run(self, path: str, pod: StaticPod) -> None:
        program = RealPod if self._world.binaries and is_real(pod.program) else find_pod_program(pod)
        self._containers.running[path] = pod
        say: Callable[[str], None] = functools.partial(self._say, pod.name)
        try:
            await (program(pod, self._world, say).run() if program else for_ever())
        finally:
            self._containers.running.pop(path, None)

    def _say(self, pod: str, line: str) -> None:
        self._print(f"{pod}: {line}")
