"""etcd as the node's own member shows it: its membership and its leader, and who of it answers.

Spoken through the JSON gateway on the client URL (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/), where an id
is a decimal string; here, and wherever Slipway names a member, it is 16 hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from slipway_node_agent.effects import Call, CallFailed, Doing, Probe, call, probe

T = TypeVar("T")

CALL_TIMEOUT = 10.0
"""Seconds; etcd itself gives up on a proposal after 7."""

LOOK_TIMEOUT = 2.0
"""Seconds; a member that is well answers in milliseconds, and all of them share one round."""


class EtcdRefused(Exception):
    """etcd did not answer, or not with success; the message is its own sentence."""


@dataclass(frozen=True)
class Member:
    """One member; one that has never started has neither name nor client URLs."""

    member_id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool


@dataclass(frozen=True)
class Membership:
    """All members, as the one sees it that was asked."""

    own_id: str
    members: tuple[Member, ...]

    @property
    def voters(self) -> tuple[Member, ...]:
        """Who counts for the quorum."""
        return tuple(member for member in self.members if not member.learner)


@dataclass(frozen=True)
class Etcd:
    """The node's own member. Every method but `look` raises EtcdRefused."""

    url: str
    ca_path: str
    cert_path: str
    key_path: str

    def membership(self, *, linearizable: bool) -> Doing[Membership]:
        """The members: as the majority has it, or as this member alone remembers it."""
        return (yield from self._call("/v3/cluster/member/list", {"linearizable": linearizable}, _membership))

    def leader_id(self) -> Doing[str | None]:
        """Whom this member follows; None while there is no leader."""
        leader = yield from self._call("/v3/maintenance/status", {}, lambda body: int(body.get("leader", 0)))
        return _hex(leader) if leader else None

    def add_learner(self, peer_url: str) -> Doing[str]:
        """The id of a new member that does not vote yet."""
        learner = {"peerURLs": [peer_url], "isLearner": True}
        added = yield from self._call("/v3/cluster/member/add", learner, lambda body: _member(body["member"]))
        return added.member_id

    def remove(self, member_id: str) -> Doing[None]:
        """The member belongs to the cluster no more, now and for ever."""
        yield from self._call("/v3/cluster/member/remove", {"ID": str(int(member_id, 16))}, bool)

    def promote(self, member_id: str) -> Doing[None]:
        """The learner votes from now on; refused while it lags behind the leader."""
        yield from self._call("/v3/cluster/member/promote", {"ID": str(int(member_id, 16))}, bool)

    def look(self, member: Member, own_id: str) -> Doing[tuple[bool, str]]:
        """Whether the member answers that it serves, and what was seen; a learner is asked for what it has itself."""
        if not member.client_urls:
            return False, "it has not started yet"
        url = self.url if member.member_id == own_id else member.client_urls[0]
        path = "/health?serializable=true" if member.learner else "/health"
        asked = Probe(url.rstrip("/") + path, self.ca_path, self.cert_path, self.key_path, LOOK_TIMEOUT)
        answer = yield from probe(asked)
        return answer.status == 200, answer.saw[:500]

    def _call(self, path: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]) -> Doing[T]:
        answer = yield from call(
            Call("POST", "etcd", path, self.url, self.ca_path, body, self.cert_path, self.key_path, CALL_TIMEOUT)
        )
        if isinstance(answer, CallFailed):
            raise EtcdRefused(answer.message)
        if answer.status != 200 or answer.body is None:
            said = (answer.body or {}).get("message")
            raise EtcdRefused(str(said)[:500] if said else f"etcd answered {answer.status}")
        try:
            return read(answer.body)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise EtcdRefused(f"its answer to {path} cannot be read: {type(error).__name__} {error}") from None


def etcd_of(access: Mapping[str, Any]) -> Etcd:
    """The member that a plan's action or step names."""
    return Etcd(access["url"], access["ca_path"], access["cert_path"], access["key_path"])


def observe_etcd(access: Mapping[str, Any]) -> Doing[dict[str, Any] | None]:
    """The membership, and what is seen of each member; None while the own one does not answer."""
    etcd = etcd_of(access)
    try:
        membership = yield from etcd.membership(linearizable=False)
        leader_id = yield from etcd.leader_id()
    except EtcdRefused:
        return None
    views = []
    for member in membership.members:
        healthy, saw = yield from etcd.look(member, membership.own_id)
        views.append(
            {
                "member_id": member.member_id,
                "name": member.name,
                "peer_url": member.peer_urls[0] if member.peer_urls else "",
                "learner": member.learner,
                "healthy": healthy,
                "saw": saw,
            }
        )
    return {"member_id": membership.own_id, "leader_id": leader_id, "members": views}


def _membership(body: Mapping[str, Any]) -> Membership:
    own_id = _hex(int(body.get("header", {}).get("member_id", 0)))
    return Membership(own_id, tuple(_member(entry) for entry in body.get("members", ())))


def _member(entry: Mapping[str, Any]) -> Member:
    """The gateway leaves out what is empty or false."""
    return Member(
        _hex(int(entry["ID"])),
        str(entry.get("name", "")),
        tuple(entry.get("peerURLs", ())),
        tuple(entry.get("clientURLs", ())),
        bool(entry.get("isLearner", False)),
    )


def _hex(member_id: int) -> str:
    return f"{member_id:016x}"
