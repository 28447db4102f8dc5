"""Units by systemctl. Starting never waits: a notifying unit may need other nodes before it is up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slipway_node_agent.effects import Executed
from slipway_node_agent.host import HostRefused
from slipway_node_agent.process import run_program

TIMEOUT = 30.0
LOG_LINES = "40"

_STATES = {"active": "active", "reloading": "active", "activating": "activating", "failed": "failed"}


class Systemd:
    """The machine's service manager. `programs` is the folder of systemctl and journalctl, empty for the PATH."""

    def __init__(self, programs: str = "") -> None:
        self._prefix = programs.rstrip("/") + "/" if programs else ""

    def restart(self, name: str) -> None:
        """Reads all unit files again, enables the unit and asks for its restart; raises HostRefused."""
        self._must("daemon-reload")
        # An image's own unit may be static; and only a unit that failed can be reset. Neither stands in the way.
        self._systemctl("enable", name)
        self._systemctl("reset-failed", name)
        self._must("restart", "--no-block", name)

    def states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Every unit's state in the agent's words; raises HostRefused when systemd does not answer."""
        answer = self._must("show", "--property=LoadState,ActiveState", "--", *names)
        blocks = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in answer.split("\n\n")]
        if len(blocks) != len(names):
            raise HostRefused("SystemdFailed", f"systemd described {len(blocks)} units of {len(names)}")
        return {name: _state(block) for name, block in zip(names, blocks)}

    def log(self, name: str) -> str:
        """The unit's last lines, empty when there are none."""
        arguments = ["--unit", name, "--lines", LOG_LINES, "--no-pager", "--output", "cat"]
        ended = run_program([self._prefix + "journalctl", *arguments], {}, TIMEOUT)
        return ended.output.strip() if ended.exit_code == 0 else ""

    def _must(self, *arguments: str) -> str:
        ended = self._systemctl(*arguments)
        if ended.exit_code is None:
            raise HostRefused("SystemdTimedOut", f"systemctl {arguments[0]} did not answer within {TIMEOUT:g} s")
        if ended.exit_code != 0:
            message = f"systemctl {arguments[0]} {arguments[-1]}: {ended.output.strip()[-500:]}"
            raise HostRefused("SystemdFailed", message)
        return ended.output.strip()

    def _systemctl(self, *arguments: str) -> Executed:
        return run_program([self._prefix + "systemctl", *arguments], {}, TIMEOUT)


def _state(block: Mapping[str, str]) -> str:
    if block.get("LoadState") == "not-found":
        return "absent"
    return _STATES.get(block.get("ActiveState", ""), "inactive")
