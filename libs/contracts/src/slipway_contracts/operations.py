"""Operations: long work that a user asked for. Each has one owner that reports it (here: the healer)."""

from enum import StrEnum

from pydantic import Field

from slipway_contracts.api import OperationKind
from slipway_contracts.envelope import Body, Event
from slipway_contracts.provisioner import Step
from slipway_contracts.values import Id, Instant, Reason

OWNERS = ("healer", "provisioner")


class OperationState(StrEnum):
    """Where an operation is."""

    RUNNING = "running"
    BLOCKED = "blocked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Operation(Body):
    """One operation: how far it is, and whose move it is if it stands still."""

    operation_id: Id
    cluster_id: Id
    kind: OperationKind
    generation: int
    state: OperationState
    percent: int = Field(ge=0, le=100)
    steps: tuple[Step, ...] = ()
    cause: Reason | None = None
    started_at: Instant
    finished_at: Instant | None = None


class OperationProgressed(Event[Operation], noun="operation", verb="progressed", owner=OWNERS):
    """The operation moved on."""


class OperationBlocked(Event[Operation], noun="operation", verb="blocked", owner=OWNERS):
    """The operation stands still; the cause says whose move it is."""


class OperationSucceeded(Event[Operation], noun="operation", verb="succeeded", owner=OWNERS, ends=True):
    """The operation reached its end."""


class OperationFailed(Event[Operation], noun="operation", verb="failed", owner=OWNERS, ends=True):
    """The operation was given up, with its cause."""
