"""The reasons that the healer gives: a code for machines, a sentence for people. All of them, in one place."""

from datetime import datetime, timedelta

from slipway_contracts.values import Mover, Reason

REGION_NOT_OBSERVED, REGION_SUSPECT, CLUSTER_NOT_SEEN = "RegionNotObserved", "RegionSuspect", "ClusterNotSeen"


def missing(target: int) -> Reason:
    """A node is made because the pool has too few."""
    return Reason(code="BelowTarget", message=f"The pool should have {target} nodes.")


def surplus(target: int) -> Reason:
    """A node goes because the pool has too many."""
    return Reason(code="AboveTarget", message=f"The pool should have {target} nodes; this one goes.")


def pool_removed() -> Reason:
    """A node goes because its pool does."""
    return Reason(code="PoolRemoved", message="The pool was removed from the cluster.")


def old_spec(version: int) -> Reason:
    """A working node is replaced because its pool's spec changed."""
    return Reason(code="OldSpec", message=f"The pool's node spec is now version {version}.")


def labels_changed() -> Reason:
    """A node gets a new plan."""
    return Reason(code="LabelsChanged", message="The pool's labels or taints changed.")


def gone() -> Reason:
    """The cloud says that the server does not exist any more."""
    return Reason(code="ServerGone", message="The cloud reports that the server does not exist any more.")


def failed(cause: Reason | None) -> Reason:
    """The build failed."""
    if cause is None:
        return Reason(code="ServerInError", message="The cloud reports the server in ERROR.", whose_move=Mover.OPERATOR)
    return cause.model_copy(update={"retry_at": None})


def never_joined(after: timedelta, cause: Reason | None) -> Reason:
    """The server runs, but its node did not come up."""
    tail = f" Last seen: {cause.message}" if cause is not None else ""
    return Reason(
        code="NeverJoined",
        message=f"The node did not join within {_text(after)} of its server being active.{tail}",
    )


def dead(*saw: str) -> Reason:
    """Two witnesses agree."""
    return Reason(code="NodeUnhealthy", message=f"Two witnesses see the node unhealthy: {'; '.join(saw)}.")


def one_witness(saw: str) -> Reason:
    """Only one witness sees the node unhealthy."""
    return Reason(code="OneWitnessOnly", message=f"Only one witness sees the node unhealthy ({saw}); nothing is done.")


def not_known(why: str) -> Reason:
    """What would have to be known is not."""
    return Reason(code="NotKnownWell", message=f"Unknown is not unhealthy: {why}.", whose_move=Mover.NOBODY)


def not_yet(what: str, until: datetime) -> Reason:
    """The condition has not lasted its timeout."""
    return Reason(code="NotLongEnough", message=f"{what}; it is acted upon from {until:%H:%M:%S} UTC on.")


def region_not_observed(seconds: float | None) -> Reason:
    """No fresh observation of the region."""
    when = "was never observed" if seconds is None else f"was last observed {seconds:.0f} s ago"
    return Reason(
        code=REGION_NOT_OBSERVED,
        message=f"The region {when}; nothing is destroyed until it is seen again.",
        whose_move=Mover.OPERATOR,
    )


def region_suspect(why: str) -> Reason:
    """What is seen of the region is not trusted."""
    return Reason(
        code=REGION_SUSPECT,
        message=f"The region is suspect, nothing is destroyed: {why}",
        whose_move=Mover.OPERATOR,
    )


def cluster_not_seen() -> Reason:
    """The last round did not reach the cluster."""
    return Reason(
        code=CLUSTER_NOT_SEEN,
        message="The last round of observations did not reach this cluster; nothing in it is destroyed.",
    )


def held(hold: str) -> Reason:
    """A hold keeps healing back."""
    return Reason(code="OnHold", message=f"The cluster is on hold ({hold}).", whose_move=Mover.USER)


def not_listed() -> Reason:
    """The provisioner's complete list is not known yet."""
    return Reason(
        code="WaitingForProvisioner",
        message="The provisioner's complete list of this cluster is awaited; without it no node is named.",
    )


def not_confirmed() -> Reason:
    """That a node never joined is known from silence alone."""
    return Reason(
        code="NotConfirmed",
        message="The node has not joined in time as far as is known; the provisioner is asked whether that is so.",
    )


def one_at_a_time(other: str) -> Reason:
    """Another node of the pool is being healed."""
    return Reason(code="OneAtATime", message=f"{other} is being replaced or rebooted; nodes are healed one at a time.")


def blast_radius(bad: int, of: int, limit: float, what: str) -> Reason:
    """Too many are bad at once."""
    return Reason(
        code="TooManyUnhealthy",
        message=f"{bad} of {of} nodes of the {what} are bad, more than {limit:g}: this looks like a fault of the "
        "region rather than of nodes.",
        whose_move=Mover.OPERATOR,
    )


def quorum(voting: int, unhealthy: int) -> Reason:
    """The change would cost etcd its majority."""
    return Reason(
        code="EtcdQuorumAtRisk",
        message=f"With this change {unhealthy} of {voting} etcd members would be down, and the majority lost.",
        whose_move=Mover.OPERATOR,
    )


def etcd_size_fixed() -> Reason:
    """The number of etcd members stays what it was when etcd started."""
    return Reason(
        code="EtcdSizeFixed",
        message="The number of etcd members does not change once etcd has started; lost ones are replaced.",
        whose_move=Mover.USER,
    )


def etcd_changing(member: str) -> Reason:
    """Another member is on its way into the membership."""
    return Reason(
        code="EtcdMembershipChanging",
        message=f"The member {member} is on its way into etcd's membership; one change is made at a time.",
    )


def last_controller() -> Reason:
    """No other controller works."""
    return Reason(code="LastController", message="No other controller is ready; this one stays.")


def others_not_ready(name: str) -> Reason:
    """A working node is only disturbed when the others of the control plane work."""
    return Reason(code="ControlPlaneNotReady", message=f"{name} is not ready; no other node is disturbed meanwhile.")


def quarantined(failures: int, trial_at: datetime | None, cause: Reason | None) -> Reason:
    """The pool's spec is quarantined."""
    what = f": {cause.message}" if cause is not None else "."
    then = f" One trial at {trial_at:%H:%M:%S} UTC; or change the pool." if trial_at else " A trial is on its way."
    return Reason(
        code=cause.code if cause is not None else "ReplacementsFail",
        message=f"{failures} attempts in a row failed{what}{then}"[:2000],
        whose_move=_blamed(cause),
        retry_at=trial_at,
    )


def backing_off(failures: int, until: datetime) -> Reason:
    """The next attempt waits a little."""
    return Reason(
        code="BackingOff", message=f"{failures} attempts failed; the next is at {until:%H:%M:%S} UTC.", retry_at=until
    )


def no_tokens(until: datetime) -> Reason:
    """The region's budget of replacements is used up."""
    return Reason(
        code="RegionBudgetSpent",
        message=f"The region's budget of replacements is spent; the next is free at {until:%H:%M:%S} UTC.",
        retry_at=until,
    )


def _blamed(cause: Reason | None) -> Mover:
    # a quarantine always waits for a person
    if cause is not None and cause.whose_move is Mover.USER:
        return Mover.USER
    return Mover.OPERATOR


def _text(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"
