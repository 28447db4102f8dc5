"""What the healer says: one method for each of its subjects, always with the user's request it follows from."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis.outbox import Announcer
from slipway_contracts.api import PoolSpec
from slipway_contracts.envelope import Body, Event
from slipway_contracts.healer import (
    ClusterHold,
    ClusterHoldChanged,
    HealingRefused,
    Hold,
    PoolRefusals,
    PoolRemoved,
    Refusal,
)
from slipway_contracts.operations import (
    Operation,
    OperationBlocked,
    OperationFailed,
    OperationProgressed,
    OperationState,
    OperationSucceeded,
)
from slipway_healer.domain.model import Node
from slipway_healer.domain.rows import event_for, table_of
from slipway_healer.observation import Observed

OPERATION_EVENTS: dict[OperationState, type[Event[Operation]]] = {
    OperationState.RUNNING: OperationProgressed,
    OperationState.BLOCKED: OperationBlocked,
    OperationState.SUCCEEDED: OperationSucceeded,
    OperationState.FAILED: OperationFailed,
}


class Voice:
    """Announces in one transaction; what was said last is not said again."""

    def __init__(self, announcer: Announcer, session: AsyncSession, seen: Observed) -> None:
        self._announcer = announcer
        self._session = session
        self._seen = seen

    async def table(self, pool: PoolSpec, nodes: Sequence[Node]) -> None:
        """The pool's complete node table."""
        table = table_of(self._seen.spec, pool, nodes)
        await self._say(event_for(pool, nodes), self._pool(pool), table)

    async def pool_removed(self, pool: PoolSpec) -> None:
        """The pool is no more, or its cluster will not be."""
        emptied = pool.model_copy(update={"count": 0})
        await self._say(PoolRemoved, self._pool(pool), table_of(self._seen.spec, emptied, ()))

    async def refusals(self, pool: PoolSpec, refusals: Sequence[Refusal]) -> None:
        """All that is refused in the pool."""
        body = PoolRefusals(cluster_id=self._seen.spec.cluster_id, pool_id=pool.pool_id, refusals=tuple(refusals))
        await self._say(HealingRefused, f"{self._pool(pool)}/refusal", body)

    async def hold(self, hold: Hold, operation_id: str | None, since: datetime) -> None:
        """The cluster's hold."""
        cluster_id = self._seen.spec.cluster_id
        body = ClusterHold(cluster_id=cluster_id, hold=hold, operation_id=operation_id, since=since)
        await self._say(ClusterHoldChanged, f"clusters/{cluster_id}/hold", body)

    async def operation(self, operation: Operation) -> None:
        """How far an operation is."""
        await self._say(OPERATION_EVENTS[operation.state], f"operations/{operation.operation_id}", operation)

    def lasting_subjects(self, pools: Sequence[str]) -> list[str]:
        """The subjects that have no ending event; they end with their cluster."""
        root = f"clusters/{self._seen.spec.cluster_id}"
        return [f"{root}/hold", *(f"{root}/pools/{pool_id}/refusal" for pool_id in pools)]

    def _pool(self, pool: PoolSpec) -> str:
        return f"clusters/{self._seen.spec.cluster_id}/pools/{pool.pool_id}"

    async def _say(self, event_class: type[Event[Any]], subject: str, body: Body) -> None:
        await self._announcer.announce(
            self._session,
            event_class,
            subject,
            body,
            correlation_id=self._seen.correlation_id,
        )
