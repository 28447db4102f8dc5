"""containerd of an emulated host: containers that outlive the kubelet that started them."""

import asyncio
from typing import Generic, TypeVar

Pod = TypeVar("Pod")


class Containers(Generic[Pod]):
    """Running static pods by their manifest's path."""

    def __init__(self) -> None:
        self.tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self.running: dict[str, Pod] = {}

    async def end(self, paths: list[str]) -> None:
        """Ends these pods."""
        tasks = [self.tasks.pop(path)[1] for path in paths]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def end_all(self) -> None:
        """Ends every pod, as a power cut does."""
        await self.end(list(self.tasks))
