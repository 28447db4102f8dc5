"""How a change of desired state is committed: once, by the version it was made from, with its operation and audit.

Desired state, operation, answer to the Idempotency-Key, audit entry and the event on the bus share one transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem, refuse
from slipway_api.domain.specs import Change
from slipway_api.domain.states import ClusterFacts
from slipway_api.domain.views import AcceptedView
from slipway_api.feed import Feed
from slipway_api.presenting import present_cluster, present_operation
from slipway_api.read_model import observe_cluster, project_status, spec_of
from slipway_api.store import LONGEST_NAME, AnswerRow, AuditRow, ClusterRow, NameRow, OperationRow
from slipway_chassis.service import Service
from slipway_contracts.api import ClusterSpec, ClusterSpecChanged
from slipway_contracts.operations import OperationState


@dataclass(frozen=True)
class RequestContext:
    """What of a request matters beside its body: who to answer to, and under which conditions."""

    request_id: str
    action: str
    remote: str | None = None
    idempotency_key: str | None = None
    request_hash: str = ""
    if_match: frozenset[str] | None = None


@dataclass(frozen=True)
class Answer:
    """An answer as it is stored for its Idempotency-Key."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)


class _KeyTaken(Exception):
    """The same Idempotency-Key was committed by another request meanwhile."""


def etag_of(generation: int) -> str:
    """The entity tag of a cluster's desired state."""
    return f'"{generation}"'


class Changes:
    """Commits changes of desired state."""

    def __init__(self, service: Service, feed: Feed) -> None:
        self._service = service
        self._feed = feed

    async def repeated(self, caller: Caller, context: RequestContext) -> Answer | None:
        """The answer that this Idempotency-Key had before; Problem when it belonged to another request."""
        if context.idempotency_key is None:
            return None
        async with self._service.database.reading() as session:
            row = await session.get(AnswerRow, (caller.project_id, caller.user_id, context.idempotency_key))
        if row is None:
            return None
        if row.request_hash != context.request_hash:
            message = f"{context.idempotency_key!r} was used for a different request"
            remedy = "Use a new key for each request, and the same one only to repeat it."
            refuse([FieldProblem("idempotency_key_reused", "Idempotency-Key", message, remedy)])
        return Answer(row.status, row.body, {**row.headers, "Idempotent-Replayed": "true"})

    async def create(self, caller: Caller, context: RequestContext, change: Change) -> Answer:
        """Commit a new cluster; Problem name_taken when the project has one of this name."""
        return await self._commit(caller, context, change, None)

    async def replace(self, caller: Caller, context: RequestContext, before: ClusterRow, change: Change) -> Answer:
        """Commit the next generation; Problem conflicting_change when another one came first."""
        return await self._commit(caller, context, change, before)

    async def standing(self, before: ClusterRow) -> Answer:
        """The answer to a request that asks for what is already under way."""
        async with self._service.database.reading() as session:
            operation = await session.get(OperationRow, spec_of(before).operation_id)
            assert operation is not None, "every generation has its operation"
            return _accepted(operation, await observe_cluster(session, before))

    async def require_current(self, before: ClusterRow, context: RequestContext) -> None:
        """The preconditions of every change of a cluster.

        Problem precondition_failed: If-Match names another version. Problem desired_state_behind: the healer acted on
        a newer desired state than the one here, so this database was restored from an older copy.
        """
        if context.if_match is not None and not {"*", etag_of(before.generation)} & context.if_match:
            raise Problem(
                "precondition_failed",
                f"The cluster is at version {etag_of(before.generation)}; read it again and repeat the change.",
                headers={"ETag": etag_of(before.generation)},
            )
        async with self._service.database.reading() as session:
            facts = await observe_cluster(session, before)
        if facts.carried_out > before.generation:
            async with self._service.transaction() as session:
                await self._service.announcer.request_resync(session, cluster_id=before.cluster_id)
            raise Problem(
                "desired_state_behind",
                f"Generation {facts.carried_out} was already carried out and only {before.generation} is known here; "
                "an operator has to look at the api's database.",
            )

    async def audit(
        self,
        caller: Caller | None,
        context: RequestContext,
        status: int,
        code: str | None,
        cluster_id: str | None = None,
    ) -> None:
        """Record a request that changed nothing: refused, or answered without a change."""
        async with self._service.database.transaction() as session:
            session.add(self._audit_row(caller, context, status, code, cluster_id))

    async def _commit(
        self, caller: Caller, context: RequestContext, change: Change, before: ClusterRow | None
    ) -> Answer:
        try:
            async with self._service.transaction() as session:
                row = await self._store(session, change.spec, before)
                operation = self._operation(caller, context, change)
                session.add(operation)
                await session.flush()
                await self._service.announce(
                    session,
                    ClusterSpecChanged,
                    f"clusters/{change.spec.cluster_id}",
                    change.spec,
                    region=change.spec.region,
                    correlation_id=context.request_id,
                )
                await self._feed.record_change(session, change.spec, self._service.clock.now())
                answer = _accepted(operation, await project_status(session, row, self._service.clock.now()))
                audit = self._audit_row(caller, context, answer.status, None, row.cluster_id)
                audit.operation_id = operation.operation_id
                session.add(audit)
                await self._keep(session, caller, context, answer)
        except (_KeyTaken, Problem):
            # the same request may have won the race against itself
            answered = await self.repeated(caller, context)
            if answered is None:
                raise
            return answered
        return answer

    async def _store(self, session: AsyncSession, spec: ClusterSpec, before: ClusterRow | None) -> ClusterRow:
        document = spec.model_dump_json()
        if before is None:
            name = NameRow(project_id=spec.project_id, name=spec.name, cluster_id=spec.cluster_id)
            if not await _insert_once(session, name):
                message = f"the project already has a cluster named {spec.name}"
                remedy = "Choose another name; that of a cluster that is being deleted is free when it is gone."
                refuse([FieldProblem("name_taken", "name", message, remedy)])
            row = ClusterRow(
                cluster_id=spec.cluster_id,
                project_id=spec.project_id,
                region=spec.region,
                name=spec.name,
                generation=spec.generation,
                spec=document,
                created_at=spec.created_at,
            )
            session.add(row)
            await session.flush()
            return row
        written = await session.execute(
            update(ClusterRow)
            .where(col(ClusterRow.cluster_id) == before.cluster_id, col(ClusterRow.generation) == before.generation)
            .values(generation=spec.generation, spec=document)
            .returning(col(ClusterRow.cluster_id))
        )
        if written.first() is None:
            raise Problem(
                "conflicting_change",
                "Another change of the cluster was accepted first; read it again and repeat yours.",
            )
        return await session.get_one(ClusterRow, before.cluster_id, populate_existing=True)

    def _operation(self, caller: Caller, context: RequestContext, change: Change) -> OperationRow:
        return OperationRow(
            operation_id=change.spec.operation_id,
            cluster_id=change.spec.cluster_id,
            project_id=change.spec.project_id,
            region=change.spec.region,
            kind=change.kind.value,
            generation=change.spec.generation,
            parameters=dict(change.parameters),
            requested_by=caller.cluster_user.name[:LONGEST_NAME],
            request_id=context.request_id,
            requested_at=self._service.clock.now(),
            state=OperationState.RUNNING.value,
        )

    def _audit_row(
        self, caller: Caller | None, context: RequestContext, status: int, code: str | None, cluster_id: str | None
    ) -> AuditRow:
        return AuditRow(
            at=self._service.clock.now(),
            request_id=context.request_id,
            user_id=caller.user_id if caller else None,
            user_name=caller.user_name[:LONGEST_NAME] if caller else None,
            project_id=caller.project_id if caller else None,
            remote=context.remote,
            action=context.action[:300],
            cluster_id=cluster_id,
            status=status,
            code=code,
        )

    async def _keep(self, session: AsyncSession, caller: Caller, context: RequestContext, answer: Answer) -> None:
        if context.idempotency_key is None:
            return
        row = AnswerRow(
            project_id=caller.project_id,
            user_id=caller.user_id,
            key=context.idempotency_key,
            request_hash=context.request_hash,
            status=answer.status,
            headers=dict(answer.headers),
            body=answer.body,
            created_at=self._service.clock.now(),
        )
        if not await _insert_once(session, row):
            raise _KeyTaken


def _accepted(operation: OperationRow, facts: ClusterFacts) -> Answer:
    view = AcceptedView(operation=present_operation(operation, facts.spec.name), cluster=present_cluster(facts, []))
    headers = {"Location": f"/v1/operations/{operation.operation_id}", "ETag": etag_of(facts.spec.generation)}
    return Answer(202, view.model_dump_json(), headers)


async def _insert_once(session: AsyncSession, row: SQLModel) -> bool:
    """Insert the row unless its key is taken; waits for a concurrent transaction that is about to take it."""
    insert = sqlite_insert if session.get_bind().dialect.name == "sqlite" else postgresql_insert
    table = type(row).__table__  # type: ignore[attr-defined]
    keys = [column.name for column in table.primary_key]
    statement = insert(table).values(**row.model_dump()).on_conflict_do_nothing(index_elements=keys)
    return (await session.execute(statement.returning(table.c[keys[0]]))).first() is not None
