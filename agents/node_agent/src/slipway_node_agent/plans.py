"""The plan loop: claim, ask for a plan, apply it, say how far it is, for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from slipway_node_agent.claim import claim_again, ensure_claimed
from slipway_node_agent.config import AgentConfig, Bootstrap, load_bootstrap
from slipway_node_agent.effects import Doing, Wait
from slipway_node_agent.errors import NewerPlan, StepFailed
from slipway_node_agent.host import Host
from slipway_node_agent.memory import load_memory, save_memory
from slipway_node_agent.plan_shape import (
    decide_expects_more,
    decide_watched_etcd,
    decide_watched_probes,
    decide_watched_units,
)
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
    expects_more: bool = False  # the plan was one step of a change that other nodes wait for
    backoff: Backoff = field(init=False)

    def __post_init__(self) -> None:
        self.backoff = Backoff(self.config.random, self.config.backoff_cap)

    def ask(self) -> Doing[dict[str, Any] | None]:
        """A newer plan, or None after a pause: long-polled while one is expected, once a minute when all is done."""
        asked = self.host.monotonic()
        expected = self.progress is None or self.expects_more
        try:
            if self.progress is not None:
                yield from self.progress.send(self.provisioner)
            plan = yield from self.provisioner.plan(self.revision, self.config.poll_wait if expected else 0)
        except ServiceFailed as failure:
            pause = self.backoff.next(failure.retry_after)
            self.host.log("No plan", after=self.revision, cause=failure.message, again_in=round(pause, 1))
            if failure.status == FORBIDDEN:
                yield from claim_again(self.host, self.bootstrap)
            yield Wait(pause)
            return None
        if plan is None:
            yield Wait(self._decide_pause(self.host.monotonic() - asked))
        self.backoff.reset()
        return plan

    def apply(self, plan: dict[str, Any]) -> Doing[dict[str, Any] | None]:
        """None when the plan is applied, or the newer plan that took over."""
        run = start_run(self.host, self.config, self.bootstrap, self.provisioner, plan)
        self.progress, self.revision = run.progress, run.revision
        self.expects_more = decide_expects_more(plan)
        try:
            yield from apply_plan(run)
        except NewerPlan as newer:
            return newer.plan
        return None

    def _decide_pause(self, took: float) -> float:
        if self.progress is not None and not self.progress.delivered:
            return self.backoff.next()
        if self.progress is None or self.expects_more:
            return max(0.0, SHORTEST_POLL - took)
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
    save_memory(host, memory)
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
    run.remember()
    run.host.log("Plan applied", revision=run.revision)
    run.progress.conclude()
    yield from run.progress.send(run.provisioner)


def _after_failure(run: Run, step: str, failure: StepFailed, backoff: Backoff) -> Doing[None]:
    """Causes pass: a mirror comes back, a peer starts."""
    message = run.scrub(failure.message)[:2000]
    pause = backoff.next(failure.retry_after)
    run.host.log("Step failed", step=step, code=failure.code, cause=message, again_in=round(pause, 1))
    run.progress.failed(step, failure.code, message, run.scrub(failure.log_tail) if failure.log_tail else None)
    yield from run.pause(pause)
