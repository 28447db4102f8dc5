"""Why something waits: codes for machines, sentences for people, and when to look again. One place for the words."""

from datetime import timedelta

from slipway_chassis.errors import RetryLater
from slipway_contracts.values import Mover, Reason, Role
from slipway_provisioner.domain.model import Kind

SOON = timedelta(seconds=1)
WHILE = timedelta(seconds=2)


def outcome_unknown(name: str, left: timedelta) -> RetryLater:
    """A create was sent, no answer came, and it may yet appear."""
    return RetryLater(
        min(max(left, timedelta(milliseconds=100)), timedelta(seconds=5)),
        "WaitingForOutcome",
        f"The cloud did not answer whether it makes {name}; it is asked again once that is certain",
        whose_move=Mover.CLOUD,
    )


def being_deleted(name: str) -> RetryLater:
    """A purpose is taken by a resource on its way out."""
    return RetryLater(SOON, "WaitingForDeletion", f"{name} is still being deleted", whose_move=Mover.CLOUD)


def still_there(kind: Kind, name: str) -> RetryLater:
    """The deletion was accepted and takes its time."""
    what = kind.value.replace("_", " ")
    return RetryLater(
        SOON, "WaitingForDeletion", f"The {what} {name} is being deleted by the cloud", whose_move=Mover.CLOUD
    )


def waiting_for_balancer(name: str, status: str) -> RetryLater:
    """Octavia changes one thing of a load balancer at a time."""
    return RetryLater(
        SOON,
        "WaitingForLoadBalancer",
        f"The load balancer {name} is {status or 'not active yet'}",
        whose_move=Mover.CLOUD,
    )


def balancer_broken(name: str) -> RetryLater:
    """Only the cloud's operator can mend a load balancer in ERROR, and it may still serve: it is not taken away."""
    return RetryLater(
        timedelta(seconds=30),
        "LoadBalancerBroken",
        f"The load balancer of {name} is in ERROR; the cloud's operator can fail it over, or delete it to have it "
        "made again on the same address",
        whose_move=Mover.OPERATOR,
    )


def waiting_for_balancer_removal(node: str) -> RetryLater:
    """A controller's server goes only after its requests go elsewhere."""
    return RetryLater(SOON, "WaitingForLoadBalancer", f"{node} is being taken out of the load balancer")


def waiting_for_drain(node: str, remaining: int, refused: int) -> RetryLater:
    """Pods still have to leave a node."""
    kept = f", {refused} of them kept by a PodDisruptionBudget" if refused else ""
    return RetryLater(
        timedelta(seconds=5),
        "Draining",
        f"{remaining} pods still have to leave {node}{kept}",
        whose_move=Mover.USER if refused else Mover.NOBODY,
    )


def waiting_for_address(node: str) -> RetryLater:
    """Neutron has not given the port an address yet."""
    return RetryLater(SOON, "WaitingForAddress", f"The port of {node} has no address yet", whose_move=Mover.CLOUD)


def no_floating_network(region: str) -> RetryLater:
    """The cluster was made to be reached by a floating IP, and regions.yaml does not say any more from where."""
    return RetryLater(
        timedelta(seconds=30),
        "NoFloatingNetwork",
        f"The endpoint of region {region} names no floating_network, from which this cluster's floating IP comes",
        whose_move=Mover.OPERATOR,
    )


def waiting_for_groups() -> RetryLater:
    """The cluster's shared parts come first; they mark the nodes dirty when they are there."""
    return RetryLater(WHILE, "WaitingForSecurityGroups", "The cluster's security and server groups are being made")


def waiting_for_others() -> RetryLater:
    """A whole cluster goes in order: workers, controllers, etcd."""
    return RetryLater(WHILE, "WaitingForNodes", "Other nodes of the cluster go first", whose_move=Mover.NOBODY)


def nobody_helps_etcd() -> RetryLater:
    """A lost member's place can only be given away by a majority that works."""
    return RetryLater(
        timedelta(seconds=10),
        "NoHealthyEtcdMember",
        "No other member of etcd is well enough to make room for this one; where its majority is lost for good, "
        "it has to be restored from a snapshot",
        whose_move=Mover.OPERATOR,
    )


def waiting_for_turn(role: Role, other: str) -> RetryLater:
    """A change of the control plane reaches one controller after the other, and one of etcd one member."""
    code = "WaitingForControllers" if role is Role.CONTROLLER else "WaitingForEtcdMembers"
    return RetryLater(timedelta(seconds=5), code, f"{other} takes its new plan first; then this one does")


def api_does_not_answer() -> RetryLater:
    """A cluster whose API was available."""
    return RetryLater(timedelta(seconds=5), "ApiDoesNotAnswer", "The cluster's Kubernetes API does not answer")


def reason(code: str, message: str, whose_move: Mover = Mover.SLIPWAY) -> Reason:
    """A reason without a time."""
    return Reason(code=code, message=message, whose_move=whose_move)


WAITING_FOR_BOOT = reason("WaitingForAgent", "The server boots; its agent has not asked for its plan yet", Mover.CLOUD)
WAITING_FOR_BUILD = reason("WaitingForServer", "The cloud is building the server", Mover.CLOUD)
WAITING_FOR_ADDRESSES = reason("WaitingForAddresses", "The etcd nodes' addresses are not all known yet")
WAITING_FOR_ENDPOINT = reason("WaitingForEndpoint", "The cluster's endpoint has no address yet")
WAITING_FOR_DECISION = reason(
    "WaitingForDecision", "The decision to disturb this node ran out before it was begun; it is being decided again"
)
