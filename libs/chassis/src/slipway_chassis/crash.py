"""Named points at which a test may kill the process: before and after each side effect and each commit.

In production nothing is armed and a point costs one comparison. `SLIPWAY_CRASH_AT=<name>[#<n>]` kills the process with
SIGKILL at the n-th passage (the first by default); a simulation arms a hook that raises instead.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Hook = Callable[[str], None]

_hook: Hook | None = None


class Crashed(BaseException):
    """Raised by a simulation's hook in place of a kill; nothing may catch it but the simulation."""


def point(name: str) -> None:
    """Pass a named point."""
    if _hook is not None:
        _hook(name)


@contextmanager
def effect(name: str) -> Iterator[None]:
    """A side effect on the outside: a point before it and one after it."""
    point(f"{name}:before")
    yield
    point(f"{name}:after")


def arm(hook: Hook | None) -> None:
    """Install a hook, or remove it."""
    global _hook  # noqa: PLW0603  a process dies at one place at a time
    _hook = hook


def arm_from_environment(environ: dict[str, str]) -> None:
    """Arm a kill where SLIPWAY_CRASH_AT asks for one."""
    wanted = environ.get("SLIPWAY_CRASH_AT")
    if not wanted:
        return
    name, _, count = wanted.partition("#")
    passed: Counter[str] = Counter()

    def kill(passing: str) -> None:
        passed[passing] += 1
        if passing == name and passed[passing] == int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    arm(kill)
