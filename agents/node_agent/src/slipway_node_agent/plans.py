"""The plan loop: claim, ask for a plan, apply it, say how far it is, for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from slipway_node_agent.claim import claim_again, ensure_claimed
from slipway_node_agent.config import AgentConfig, Bootstrap, load_bootstrap
from slipway_node_agent.effects import Doing, Wait
from slipway_node_agent.errors import NewerPlan, StepFailed
from slipway_node_agent.host import Host
from slipway_node_agent.memory import Memory, load_memory, save_memory
from slipway_node_agent.plan_shape import decide_watched_etcd, decide_watched_probes, decide_watched_units
from slipway_node_agent.progress import Progress
from slipway_node_agent.retry import Backoff
from slipway_node_agent.run import Run
from slipway_node_agent.scrub import Scrubber, decide_secrets
from slipway_node_agent.services import Provisioner, ServiceFailed
from slipway_node_agent.steps import apply_step

FORBIDDEN = 403
"""The answer to a key that the provisioner does not know for this node."""

SHORTEST_POLL = 1.0
"""Seconds between two questions for a plan, should the server not hold them back."""

ON_CALL_PAUSE = (0.5, 2.5)
"""Seconds between two long polls of a member of etcd: chance keeps the members apart, all of which a provisioner that
stops lets go at the same moment."""


def plan_loop(host: Host, config: AgentConfig) -> Doing[NoReturn]:
    """Claims the node's plan and keeps the node as the newest one says. Raises HostRefused without a bootstrap file.

    The first plan after a start is applied even if it was before: a reboot or a person may have changed things.
    """
    bootstrap = load_bootstrap(host)
    agent = _PlanLoop(host, config, bootstrap, Provisioner(bootstrap.url, bootstrap.node_id))
    while True:
        # Also in the middle of a node's life: a certificate may have been lost or have expired.
        yield from ensure_claimed(host, config, bootstrap)
        plan = yield from agent.ask()
        while plan is not None:
            plan = yield from agent.apply(plan)


@dataclass
class _PlanLoop:
    """What the loop knows between two plans."""

    host: Host
    config: AgentConfig
    bootstrap: Bootstrap
    provisioner: Provisioner
    progress: Progress | None = None  # None until a plan was applied since the start
    revision: int = 0
    on_call: bool = False  # a member of etcd: a lost one's new server waits until another member helps it in
    backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.config.random, self.config.backoff_cap)

    def ask(self) -> Doing[dict[str, Any] | None]:
        """A newer plan, or None after a pause: long-polled for by who must hear of it at once, else asked for."""
        asked = self.host.monotonic()
        try:
            if self.progress is not None:
                yield from self.progress.send(self.provisioner)
            plan = yield from self.provisioner.plan(self.revision, self.config.poll_wait if self._waits() else 0)
        except ServiceFailed as failure:
            pause = self.backoff.next(failure.retry_after)
            self.host.log("No plan", after=self.revision, cause=failure.message, again_in=round(pause, 1))
            if failure.status == FORBIDDEN:
                yield from claim_again(self.host, self.bootstrap)
            yield Wait(pause)
            return None
        if plan is None:
            yield Wait(self._decide_pause(self.host.monotonic() - asked))
        if self.progress is None or self.progress.delivered:
            self.backoff.reset()
        return plan

    def apply(self, plan: dict[str, Any]) -> Doing[dict[str, Any] | None]:
        """None when the plan is applied, or the newer plan that took over."""
        run = start_run(self.host, self.config, self.bootstrap, self.provisioner, plan)
        self.progress, self.revision = run.progress, run.revision
        self.on_call = run.memory.watched_etcd is not None
        try:
            yield from apply_plan(run)
        except NewerPlan as newer:
            return newer.plan
        return None

    def _waits(self) -> bool:
        """Whether the next plan is long-polled for; a report that was lost is sent again before that."""
        return self.progress is None or (self.on_call and self.progress.delivered)

    def _decide_pause(self, took: float) -> float:
        if self.progress is not None and not self.progress.delivered:
            return self.backoff.next()
        if self.progress is None:
            return max(0.0, SHORTEST_POLL - took)
        if self.on_call:
            return self.config.random.uniform(*ON_CALL_PAUSE)
        return self.config.finished_every * self.config.random.uniform(0.8, 1.2)


def start_run(
    host: Host, config: AgentConfig, bootstrap: Bootstrap, provisioner: Provisioner, plan: dict[str, Any]
) -> Run:
    """All that applying this plan needs; from now on its units, local probes and etcd are watched."""
    memory = load_memory(host)
    progress = Progress(host, plan, repeated=int(plan["revision"]) == memory.applied_revision)
    memory.watched_units = decide_watched_units(plan)
    memory.watched_probes = decide_watched_probes(host, plan)
    memory.watched_etcd = decide_watched_etcd(plan)
    _remember(host, memory)
    host.log("Applying plan", revision=plan["revision"], steps=len(plan["steps"]))
    scrub = Scrubber(decide_secrets(plan, bootstrap.token))
    return Run(host, config, provisioner, memory, plan, progress, scrub)


def apply_plan(run: Run) -> Doing[None]:
    """Returns when every step is done; a step that fails is reported and tried again. Raises NewerPlan."""
    yield from run.progress.send(run.provisioner)
    for step in run.plan["steps"]:
        backoff = Backoff(run.config.random, run.config.backoff_cap)
        done = False
        while not done:
            run.progress.running(step["name"])
            yield from run.progress.send(run.provisioner)
            try:
                yield from apply_step(run, step)
                done = True
            except StepFailed as failure:
                yield from _after_failure(run, step["name"], failure, backoff)
        run.progress.done(step["name"])
    run.memory.applied_revision = run.revision
    _remember(run.host, run.memory)
    run.host.log("Plan applied", revision=run.revision)
    run.progress.conclude()
    yield from run.progress.send(run.provisioner)


def _remember(host: Host, memory: Memory) -> None:
    """Where the disk is full it goes on without: losing it is harmless, and a step that needs the disk says so."""
    try:
        save_memory(host, memory)
    except OSError as error:
        host.log("Cannot remember the plan", cause=error)


def _after_failure(run: Run, step: str, failure: StepFailed, backoff: Backoff) -> Doing[None]:
    """Causes pass: a mirror comes back, a peer starts."""
    message = run.scrub(failure.message)[:2000]
    pause = backoff.next(failure.retry_after)
    run.host.log("Step failed", step=step, code=failure.code, cause=message, again_in=round(pause, 1))
    run.progress.failed(step, failure.code, message, run.scrub(failure.log_tail) if failure.log_tail else None)
    yield from run.pause(pause)
