"""How far a plan is, as the provisioner hears it: after each change, and at least once a minute while unfinished."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_node_agent.effects import Doing
from slipway_node_agent.host import Host
from slipway_node_agent.services import Provisioner, ServiceFailed

PENDING, RUNNING, WAITING, DONE, FAILED = "pending", "running", "waiting", "done", "failed"

_WORST_FIRST = (FAILED, WAITING, RUNNING, PENDING)


class Progress:
    """The states of one plan's steps.

    A plan that this node had applied before starts as done: repeating it after a restart is no news unless it finds
    something amiss.
    """

    def __init__(self, host: Host, plan: Mapping[str, Any], repeated: bool) -> None:
        self._host = host
        self._plan = plan
        self._steps = {step["name"]: self._entry(step["name"], DONE if repeated else PENDING) for step in plan["steps"]}
        self._notices: dict[str, tuple[str, str]] = {}
        self._log_tail: str | None = None
        self._silent = repeated
        self._unsent = True
        self._sent_at = host.monotonic()

    def running(self, name: str) -> None:
        """The step was begun; one that waits or failed stays so until it is through, else it would flap."""
        if self._steps[name]["state"] == PENDING:
            self._change(self._entry(name, RUNNING))

    def waiting(self, name: str, code: str, message: str, for_others: bool) -> None:
        """The step waits. Only another code is a change: the sentence may differ with every look."""
        entry = self._entry(name, WAITING, code, message, for_others)
        if (self._steps[name]["state"], self._steps[name]["code"]) == (WAITING, code):
            entry["since"] = self._steps[name]["since"]
            self._steps[name] = entry
        else:
            self._change(entry)

    def failed(self, name: str, code: str, message: str, log_tail: str | None) -> None:
        """The step failed and will be tried again."""
        self._change(self._entry(name, FAILED, code, message, bool(self._steps[name]["for_others"])), log_tail)

    def done(self, name: str) -> None:
        """The step is as it should be, but for what was noticed."""
        code, message = self._notices.pop(name, (None, None))
        if self._steps[name]["state"] != DONE:
            self._change({**self._entry(name, DONE, code, message), "result": self._steps[name]["result"]})
        else:
            self._steps[name].update(code=code, message=message)

    def notice(self, name: str, code: str, message: str) -> None:
        """The step goes on, but people should know; it is told with the step's end, also with a repeated plan's."""
        known = self._notices.get(name)
        self._notices[name] = (code, f"{known[1]}; {message}" if known else message)

    def found(self, name: str, result: str) -> None:
        """What the step found or made; it is told with the step's end, also with that of a repeated plan."""
        self._steps[name]["result"] = result

    def conclude(self) -> None:
        """The plan is through: also the end of a repeated one is told, its first end may have been lost."""
        self._silent = False

    @property
    def delivered(self) -> bool:
        """Whether the provisioner knows the present state."""
        return not self._unsent

    def report(self) -> dict[str, Any]:
        """The report as the protocol has it."""
        states = {entry["state"] for entry in self._steps.values()}
        begun = states & {RUNNING, DONE}
        worst = next((state for state in _WORST_FIRST if state in states), DONE)
        return {
            "node_id": self._plan["node_id"],
            "revision": self._plan["revision"],
            "state": RUNNING if worst == PENDING and begun else worst,
            "steps": list(self._steps.values()),
            "log_tail": self._log_tail,
            "traceparent": self._plan.get("traceparent"),
        }

    def send(self, provisioner: Provisioner, every: float | None = None) -> Doing[None]:
        """Sends what is unsent, or older than `every` seconds. A report that is lost is sent again by a later call."""
        stale = every is not None and self._host.monotonic() - self._sent_at >= every
        if self._silent or not (self._unsent or stale):
            return
        self._sent_at = self._host.monotonic()
        self._unsent = False
        try:
            yield from provisioner.report(self.report())
        except ServiceFailed as failure:
            self._host.log("Report not delivered", revision=self._plan["revision"], cause=failure.message)
            # A 4xx will not become a success by repetition; the next change is a new report anyway.
            self._unsent = failure.status is None or failure.status >= 500 or failure.status == 429

    def _entry(
        self, name: str, state: str, code: str | None = None, message: str | None = None, for_others: bool = False
    ) -> dict[str, Any]:
        since = self._host.now().isoformat()
        return {
            "name": name,
            "state": state,
            "since": since,
            "code": code,
            "message": message,
            "for_others": for_others,
            "result": None,
        }

    def _change(self, entry: dict[str, Any], log_tail: str | None = None) -> None:
        self._log_tail = log_tail
        self._steps[entry["name"]] = entry
        self._silent, self._unsent = False, True
