"""Whether a program that came with the image is of a version that works with the plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from slipway_node_agent.effects import Doing, Execute, execute
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.run import Run

Version = tuple[int, ...]

_VERSION = re.compile(r"\bv?(\d+)\.(\d+)\.(\d+)")
TIMEOUT = 20.0


def ensure_version(run: Run, step: str, action: Mapping[str, Any]) -> Doing[None]:
    """Returns when the version is in the range, or the plan lets it pass, which is then said with the step."""
    ended = yield from execute(Execute(tuple(action["argv"]), {}, TIMEOUT))
    found = find_version(ended.output) if ended.exit_code == 0 else None
    if found is None:
        raise StepFailed(
            "ProgramMissing", f"{' '.join(action['argv'])} tells no version: is it installed?", ended.output
        )
    message = decide_version(action, found)
    if message is None:
        return
    if not action.get("lenient"):
        raise StepFailed(str(action["code"]), message)
    run.progress.notice(step, str(action["code"]), f"{message}; the region lets it pass")


def find_version(output: str) -> Version | None:
    """The first version in what a program printed."""
    match = _VERSION.search(output)
    return tuple(int(part) for part in match.groups()) if match else None


def decide_version(action: Mapping[str, Any], found: Version) -> str | None:
    """What is wrong with this version; None when it is in the range."""
    least, below = action["at_least"], action.get("below")
    if _read(least) <= found and (below is None or found < _read(below)):
        return None
    wanted = f"{least} or newer" + (f", and older than {below}" if below else "")
    return f"{action['program']} is {'.'.join(map(str, found))}; this release needs {wanted}"


def _read(version: str) -> Version:
    return tuple(int(part) for part in version.split("."))
