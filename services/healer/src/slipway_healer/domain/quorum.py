"""Whether etcd keeps its majority while one member's server is changed (design §6, gate 6).

The lost member is removed, a learner takes its place and copies the data, then it votes. Without the lost member the
majority is never greater than with the new one, so the end is what is predicted: everybody else, and a new member that
counts as unhealthy until it has shown otherwise.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from slipway_contracts.monitor import EtcdMembership


@dataclass(frozen=True)
class Voter:
    """One member that votes: whose it is, where that is known, and whether it can be counted on."""

    node_id: str | None
    healthy: bool


@dataclass(frozen=True)
class Quorum:
    """How many members vote, and how many of them cannot be counted on."""

    voting: int
    unhealthy: int

    @property
    def holds(self) -> bool:
        """Whether the others are a majority."""
        return self.voting - self.unhealthy >= self.voting // 2 + 1


def after_change(node_id: str, voters: Iterable[Voter]) -> Quorum:
    """The quorum once this node's server was rebooted or replaced, however often it voted before."""
    others = [voter for voter in voters if voter.node_id != node_id]
    return Quorum(len(others) + 1, 1 + sum(not voter.healthy for voter in others))


def voters_of(membership: EtcdMembership, is_ill: Callable[[str], bool]) -> tuple[Voter, ...]:
    """Who votes: a member is counted on only if the others reach it and nothing worse is known of its node."""
    return tuple(
        Voter(each.node_id, each.healthy and not (each.node_id is not None and is_ill(each.node_id)))
        for each in membership.voters
    )
