"""How far a node's plan is, read from what its agent claimed and reported; and what to forget of a node."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from slipway_contracts.agent import StepReport
from slipway_contracts.provisioner import Step, StepState
from slipway_contracts.values import Mover, Reason
from slipway_provisioner.domain.plans.etcd import is_help
from slipway_provisioner.domain.progress import PlanView
from slipway_provisioner.store_agents import AgentRow, forget_agent
from slipway_provisioner.store_plans import (
    PlanRow,
    forget_plan,
    reported_steps,
)

WAIT_STEP = timedelta(seconds=30)

SKEW_LIMIT = 60.0
"""Seconds of difference between a machine's clock and ours that are worth a word."""

_OPERATORS = (
    "ArtifactUnreachable",
    "ArtifactDigestMismatch",
    "ArtifactUnusable",
    "ClockSkew",
    "ProgramMissing",
    "RuntimeOutOfRange",
    "TokenTaken",
)
"""Causes that only the region's operator can mend: the mirror, the image, whoever reads user data."""


_AGENT_AND_PLAN = (
    select(AgentRow, PlanRow)
    .outerjoin(PlanRow, col(PlanRow.node_id) == col(AgentRow.node_id))
    .where(col(AgentRow.node_id) == bindparam("of_node"))
)
"""A plan is made for an agent that has claimed its node: there is none without."""


async def plan_progress(session: AsyncSession, node_id: str, now: datetime) -> PlanView:
    """How far the plan of this node's present server is."""
    found = (await session.execute(_AGENT_AND_PLAN, {"of_node": node_id})).one_or_none()
    agent, plan = found or (None, None)
    return plan_view(agent, plan, now)


def plan_view(agent: AgentRow | None, plan: PlanRow | None, now: datetime) -> PlanView:
    """How far a plan is by what its agent claimed and reported."""
    claimed = agent is not None and agent.claimed_at is not None
    notice = _taken(agent) or _skew(agent)
    if plan is None:
        waited = _waited_for_plan(agent, None, now)
        return PlanView(claimed=claimed, waiting=notice, cause=notice, waited_for_others=waited)
    reports = reported_steps(plan)
    steps = tuple(_step(each["name"], each["title"], reports) for each in plan.titles)
    failed = [each for each in reports.values() if each.state is StepState.FAILED and not is_help(each.name)]
    waiting = [report for report in reports.values() if report.state is StepState.WAITING]
    return PlanView(
        revision=plan.revision,
        applied_revision=plan.applied_revision,
        claimed=claimed,
        failed=bool(failed),
        steps=steps,
        percent=plan_percent(steps),
        waiting=_reason(waiting[0].code, waiting[0].message) if waiting else notice,
        cause=_reason(failed[0].code, failed[0].message) if failed else notice,
        notices=tuple(_reason(each.code, each.message) for each in reports.values() if _is_noticed(each)),
        log_tail=plan.log_tail,
        waited_for_others=round(_waited_for_plan(agent, plan, now) + plan.waited_for_others, 1),
    )


def plan_percent(steps: tuple[Step, ...]) -> int:
    """0 to 100: the part of the steps that is done."""
    done = sum(step.state is StepState.DONE for step in steps)
    return 100 * done // len(steps) if steps else 0


async def forget_node(session: AsyncSession, node_id: str) -> None:
    """The node is gone: its plan, its token and its agent's key with it."""
    await forget_plan(session, node_id)
    await forget_agent(session, node_id)


def _waited_for_plan(agent: AgentRow | None, plan: PlanRow | None, now: datetime) -> float:
    """Seconds from the claim until there was a plan: it needed other nodes' addresses.

    Meanwhile it grows in steps, so that not every look is news.
    """
    if agent is None or agent.claimed_at is None:
        return 0.0
    if plan is not None:
        return max(0.0, (plan.created_at - agent.claimed_at).total_seconds())
    return max(0.0, (now - agent.claimed_at) // WAIT_STEP * WAIT_STEP.total_seconds())


def _is_noticed(report: StepReport) -> bool:
    return report.state is StepState.DONE and report.code is not None


def _step(name: str, title: str, reports: Mapping[str, StepReport]) -> Step:
    report = reports.get(name)
    if report is None:
        return Step(name=name, title=title, state=StepState.PENDING)
    return Step(name=name, title=title, state=report.state, since=report.since, message=report.message)


def _reason(code: str | None, message: str | None) -> Reason:
    known = code or "StepFailed"
    mover = Mover.OPERATOR if known in _OPERATORS else Mover.SLIPWAY
    return Reason(code=known, message=(message or "the agent gave no cause")[:2000], whose_move=mover)


def _taken(agent: AgentRow | None) -> Reason | None:
    if agent is None or not agent.refused_claims:
        return None
    message = f"{agent.refused_claims} claims of this node by another key were refused: its token may have leaked"
    return _reason("TokenTaken", message)


def _skew(agent: AgentRow | None) -> Reason | None:
    if agent is None or abs(agent.clock_skew) <= SKEW_LIMIT:
        return None
    side = "ahead" if agent.clock_skew > 0 else "behind"
    return _reason("ClockSkew", f"the machine's clock is {abs(agent.clock_skew):.0f} s {side}; mend the image's NTP")
