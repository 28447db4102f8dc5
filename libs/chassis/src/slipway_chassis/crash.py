"""Named points at which a test may kill the process: before and after each side effect and each commit.

In production nothing is armed and a point costs one comparison. `SLIPWAY_CRASH_AT=<name>[#<n>]` kills the process with
SIGKILL at the n-th passage (the first by default), `SLIPWAY_PAUSE_AT` stops it there with SIGSTOP until somebody lets
it go on; a simulation arms a hook that raises instead.
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
    """Arm a kill where SLIPWAY_CRASH_AT asks for one, or a pause where SLIPWAY_PAUSE_AT does."""
    for variable, number in (("SLIPWAY_CRASH_AT", signal.SIGKILL), ("SLIPWAY_PAUSE_AT", signal.SIGSTOP)):
        if environ.get(variable):
            arm(_signals_itself(environ[variable], number))
            return


def _signals_itself(wanted: str, number: signal.Signals) -> Hook:
    name, _, count = wanted.partition("#")
    passed: Counter[str] = Counter()

    def passing(point: str) -> None:
        passed[point] += 1
        if point == name and passed[point] == int(count or 1):
            os.kill(os.getpid(), number)

    return passing
