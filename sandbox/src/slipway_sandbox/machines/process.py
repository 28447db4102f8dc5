"""What an emulated program runs with: its host, its command line, and the world it shares with other machines."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slipway_sandbox.machines.command_lines import parse_flags
from slipway_sandbox.machines.host import EmulatedHost
from slipway_sandbox.machines.world import World


class Exited(Exception):
    """The program ended by itself with an error; the message is the last line it printed."""


@dataclass(frozen=True)
class Process:
    """One run of one program. `ready` is sd_notify's READY=1; `print` writes a line to the unit's log."""

    host: EmulatedHost
    world: World
    argv: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...]  # the unit's ExecStartPre
    environment: Mapping[str, str]
    print: Callable[[str], None]
    ready: Callable[[], None]

    @property
    def flags(self) -> dict[str, str]:
        """The command line's flags by name."""
        return parse_flags(self.argv[1:])

    def file(self, path: str, why: str) -> str:
        """The text of a file that the program cannot do without. Raises Exited."""
        text = self.host.read_file(path)
        if text is None:
            raise Exited(f"{why}: open {path}: no such file or directory")
        return text


def describe_crash(error: BaseException) -> str:
    """One line about why a program ended: its own words, or what was wrong with the emulation of it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe_crash(inner) for inner in error.exceptions)
    if isinstance(error, Exited):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return f"crashed: {type(error).__name__} {error}"


class Program(ABC):
    """A program of a host; `run` lasts until it is cancelled, or raises Exited."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.host = process.host
        self.world = process.world

    @abstractmethod
    async def run(self) -> None:
        """Runs to the end; releases what it holds when it is cancelled."""


async def for_ever() -> None:
    """Waits to be cancelled."""
    await asyncio.Event().wait()
