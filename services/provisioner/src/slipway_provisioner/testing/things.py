"""What is in the fake cloud, and how its calls are made to fail."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.provisioner import ServerState
from slipway_provisioner.domain.model import Kind, Member, Order
from slipway_provisioner.domain.security_groups import GroupRule
from slipway_provisioner.ports import OutcomeUnknown


@dataclass
class Thing:
    """One resource of the fake cloud."""

    kind: Kind
    cloud_id: str
    project_id: str
    order: Order
    made_at: datetime
    address: str | None = None
    device_id: str | None = None
    parent_id: str | None = None
    deleted_at: datetime | None = None
    changed_at: datetime | None = None
    state: ServerState | None = None
    """Forced by a test; else it follows from the time."""
    reboots: int = 0
    rules: list[GroupRule] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    """Node ids of members whose health check fails."""
    broken: bool = False
    """Of a load balancer: it is in ERROR."""


@dataclass
class Failure:
    """The next calls of this name fail; `after` the work was done or before."""

    error: RetryLater | GiveUp
    times: int = 1
    after: bool = False


def no_answer() -> OutcomeUnknown:
    """The call was sent and no answer came."""
    return OutcomeUnknown(timedelta(seconds=2), "CloudTimeout", "The cloud did not answer in time")
