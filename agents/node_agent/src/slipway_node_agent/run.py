"""One application of one plan: what its actions need at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Doing, Wait
from slipway_node_agent.errors import NewerPlan, StepFailed
from slipway_node_agent.host import Host
from slipway_node_agent.memory import Memory, save_memory
from slipway_node_agent.progress import Progress
from slipway_node_agent.scrub import Scrubber
from slipway_node_agent.services import Provisioner, ServiceFailed


@dataclass
class Run:
    """The plan, the machine, and whom to tell."""

    host: Host
    config: AgentConfig
    provisioner: Provisioner
    memory: Memory
    plan: dict[str, Any]
    progress: Progress
    scrub: Scrubber
    quiet_until: float = 0.0  # by the monotonic clock: the provisioner asked not to be polled before

    @property
    def revision(self) -> int:
        """The plan's revision."""
        return int(self.plan["revision"])

    def remember(self) -> None:
        """Makes the memory survive a restart."""
        save_memory(self.host, self.memory)

    def require_newest(self) -> Doing[None]:
        """The provisioner says that no plan is newer. Raises NewerPlan, or ServiceFailed when it does not say."""
        newer = yield from self.provisioner.plan(self.revision, 0)
        if newer is not None:
            raise NewerPlan(newer)

    def pause(self, seconds: float) -> Doing[None]:
        """Lets time pass, sends what is unsent, and raises NewerPlan as soon as there is one."""
        until = self.host.monotonic() + seconds
        while True:
            yield from self.progress.send(self.provisioner, self.config.report_every)
            left = until - self.host.monotonic()
            if left <= 0:
                return
            yield from self._pause_once(min(left, float(self.config.poll_wait)))

    def _pause_once(self, seconds: float) -> Doing[None]:
        """The long poll is the pause; where it ends early, the rest is waited."""
        started = self.host.monotonic()
        if started >= self.quiet_until:
            try:
                newer = yield from self.provisioner.plan(self.revision, max(1, round(seconds)))
                if newer is not None:
                    raise NewerPlan(newer)
            except ServiceFailed as failure:
                self.host.log("Plan not answered", after=self.revision, cause=failure.message)
                self.quiet_until = self.host.monotonic() + (failure.retry_after or 0.0)
        rest = seconds - (self.host.monotonic() - started)
        if rest > 0:
            yield Wait(rest)


class Patience:
    """How long a step may still wait for something; each pause is longer than the one before."""

    def __init__(self, run: Run, step: str, timeout: float) -> None:
        self._run = run
        self._step = step
        self._timeout = timeout
        self._started = run.host.monotonic()
        self._pause = 0.5

    def wait(
        self,
        code: str,
        message: str,
        *,
        for_others: bool,
        failed: str | None = None,
        log_tail: Callable[[], str | None] = lambda: None,
    ) -> Doing[None]:
        """Says what is waited for, and pauses. Raises StepFailed, by `failed` or the code, after the last time."""
        left = self._timeout - (self._run.host.monotonic() - self._started)
        if left <= 0:
            raise StepFailed(failed or code, f"{message} after {self._timeout:g} s", log_tail())
        self._run.progress.waiting(self._step, code, message, for_others)
        self._pause = min(self._pause * 2, self._run.config.probe_pause_cap)
        yield from self._run.pause(min(self._pause, left))
