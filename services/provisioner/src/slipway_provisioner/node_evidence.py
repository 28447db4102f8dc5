"""What a person needs to know why a node did not come up, taken while its server is there, once for each server."""

import structlog

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_chassis.work import Lease
from slipway_contracts.provisioner import Evidence, NodePhase, ServerState, StepState
from slipway_provisioner.context import Context, node_record
from slipway_provisioner.domain.evidence import decide_silence, scrub_console
from slipway_provisioner.observing import NodeLook
from slipway_provisioner.planning import Planner

log = structlog.get_logger()

AGENT_LOG_KEPT = 4000
"""Characters of the agent's log that travel with a node."""


class NodeEvidence:
    """Takes the evidence of one node."""

    def __init__(self, context: Context, planner: Planner) -> None:
        self._context = context
        self._planner = planner

    def is_due(self, look: NodeLook) -> bool:
        """Whether this server did not come up, and nothing was kept of it yet."""
        leaves = look.phase in (NodePhase.REPLACING, NodePhase.REMOVING)
        moment = look.node.since if leaves else self._context.now()
        overdue = look.phase is NodePhase.FAILED or look.is_overdue(moment)
        known = Evidence.model_validate(look.node.evidence) if look.node.evidence else None
        return overdue and (known is None or known.incarnation != look.node.incarnation)

    async def keep(self, lease: Lease, look: NodeLook) -> None:
        """Keep the ends of console and agent log and the last step, and say why where nobody has yet."""
        node = look.node
        console = await self._console(look)
        unfinished = [step.title for step in look.plan.steps if step.state is not StepState.DONE]
        evidence = Evidence(
            console=console,
            agent=look.plan.log_tail[-AGENT_LOG_KEPT:] if look.plan.log_tail else None,
            last_step=unfinished[0] if unfinished else None,
            incarnation=node.incarnation,
            taken_at=self._context.now(),
        )
        async with self._context.holding(lease) as session:
            stored = await node_record(session, node.node_id)
            assert stored is not None, "a node that has a lease has a record"
            stored.evidence = evidence.model_dump(mode="json")
            if stored.cause is None and not look.plan.claimed and look.server_state is ServerState.ACTIVE:
                cause = look.plan.cause or decide_silence(
                    console, look.row.spec.network_id, self._context.region.agent_url
                )
                stored.cause = cause.model_dump(mode="json")
        log.info("Evidence kept", node_id=node.node_id, name=node.name, cause=stored.cause and stored.cause["message"])

    async def _console(self, look: NodeLook) -> str | None:
        node = look.node
        if node.server_id is None or look.server_state is ServerState.GONE:
            return None
        try:
            text = await self._context.cloud.console(node.project_id, node.server_id)
        except (RetryLater, GiveUp) as refusal:
            log.info("No console log", node_id=node.node_id, reason=refusal.reason.message)
            return None
        return scrub_console(text, self._planner.token_of(node)) if text else None
