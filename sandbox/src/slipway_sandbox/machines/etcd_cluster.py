"""An emulated etcd cluster: who belongs to it, who runs, and what it stores. Found by its members, as the real one, by
the initial cluster and token they were started with."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway_sandbox.machines.kubernetes import Storage

VERSION = "3.6.16"
"""What every member says it is."""


class CannotJoin(Exception):
    """The member does not start: the message is what the real one prints."""


class Refusal(Exception):
    """A request that etcd refuses: an HTTP status of its gateway, a gRPC code, and its sentence."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message}


@dataclass
class RunningMember:
    """A member that answers: its client URLs, and whom it trusts and shows there."""

    name: str
    client_urls: tuple[str, ...]
    trusted_ca_pem: str | None
    certificate_pem: str | None
    in_sync: bool = False
    """A learner has all that the leader has."""


@dataclass
class EtcdMember:
    """Who belongs to the cluster; one without client URLs has never started with a quorum."""

    member_id: int
    peer_urls: tuple[str, ...]
    name: str = ""
    client_urls: tuple[str, ...] = ()
    learner: bool = False

    def describe(self) -> dict[str, Any]:
        """As the JSON gateway says it: without what is empty or false."""
        said = {
            "ID": str(self.member_id),
            "name": self.name,
            "peerURLs": list(self.peer_urls),
            "clientURLs": list(self.client_urls),
            "isLearner": self.learner,
        }
        return {key: value for key, value in said.items() if value}


@dataclass
class EtcdCluster:
    """Its members change only by requests that its majority accepts. The storage lives while a member holds data."""

    identity: str
    storage: Storage
    members: dict[int, EtcdMember] = field(default_factory=dict)
    holders: set[int] = field(default_factory=set)
    """Ids of members whose data are on some disk."""
    running: dict[int, RunningMember] = field(default_factory=dict)
    added: int = 0

    @property
    def voters(self) -> list[EtcdMember]:
        """Who counts for the quorum."""
        return [member for member in self.members.values() if not member.learner]

    @property
    def live_voters(self) -> int:
        """How many of them run."""
        return sum(member.member_id in self.running for member in self.voters)

    @property
    def has_quorum(self) -> bool:
        """A majority of the voters runs."""
        return self.live_voters >= len(self.voters) // 2 + 1

    @property
    def leader_id(self) -> int:
        """The voter that leads; 0 without a quorum."""
        live = [member.member_id for member in self.voters if member.member_id in self.running]
        return min(live) if self.has_quorum else 0

    def serves(self, member_id: int) -> bool:
        """Whether the member answers linearizable reads: it votes, and there is a quorum."""
        member = self.members.get(member_id)
        return member is not None and not member.learner and member_id in self.running and self.has_quorum

    def start(self, member_id: int, running: RunningMember) -> None:
        """The member runs, and with a quorum it publishes its name and client URLs."""
        self.holders.add(member_id)
        self.running[member_id] = running
        if self.has_quorum:
            for each, run in self.running.items():
                self.members[each].name, self.members[each].client_urls = run.name, run.client_urls

    def stop(self, member_id: int, running: RunningMember) -> None:
        """That run of the member ends; its data stay."""
        if self.running.get(member_id) is running:
            del self.running[member_id]

    # -- the JSON gateway

    def ask(self, member_id: int, path: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """What the gateway of a member answers."""
        answers = {
            "/v3/cluster/member/list": self._list,
            "/v3/cluster/member/add": self._add,
            "/v3/cluster/member/remove": self._remove,
            "/v3/cluster/member/promote": self._promote,
            "/v3/maintenance/status": self._status,
        }
        if path not in answers:
            return 404, {"code": 5, "message": "Not Found"}
        try:
            return 200, {"header": {"member_id": str(member_id)}, **answers[path](member_id, body)}
        except Refusal as refusal:
            return refusal.status, refusal.body

    def _all(self) -> dict[str, Any]:
        return {"members": [member.describe() for member in self.members.values()]}

    def _list(self, member_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        if body.get("linearizable", True) and not self.serves(member_id):
            raise _NO_ANSWER
        return self._all()

    def _status(self, member_id: int, _body: Mapping[str, Any]) -> dict[str, Any]:
        learner = {"isLearner": True} if self.members[member_id].learner else {}
        return {"version": VERSION, "leader": str(self.leader_id), **learner}

    def _add(self, member_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        """Strict reconfiguration: nobody is added, not even a learner, while a voter does not answer."""
        self._require_quorum(member_id)
        urls = tuple(body["peerURLs"])
        if self.live_voters < len(self.voters):
            raise Refusal(503, 14, "etcdserver: unhealthy cluster")
        if any(set(urls) & set(member.peer_urls) for member in self.members.values()):
            raise Refusal(400, 9, "etcdserver: Peer URLs already exists")
        if any(member.learner for member in self.members.values()):
            raise Refusal(400, 9, "etcdserver: too many learner members in cluster")
        self.added += 1
        added = EtcdMember(_id_of(f"{self.identity}/{self.added}/{urls}"), urls, learner=bool(body.get("isLearner")))
        self.members[added.member_id] = added
        return {"member": added.describe(), **self._all()}

    def _remove(self, member_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        self._require_quorum(member_id)
        lost = self._named(body)
        left = [member for member in self.voters if member is not lost]
        needed = len(left) // 2 + 1
        if not lost.learner and sum(bool(member.name) for member in left) < needed:
            raise Refusal(400, 9, "etcdserver: re-configuration failed due to not enough started members")
        if not lost.learner and lost.member_id in self.running and self.live_voters - 1 < needed:
            raise Refusal(503, 14, "etcdserver: unhealthy cluster")
        del self.members[lost.member_id]
        self.running.pop(lost.member_id, None)
        return self._all()

    def _promote(self, member_id: int, body: Mapping[str, Any]) -> dict[str, Any]:
        self._require_quorum(member_id)
        learner = self._named(body)
        if not learner.learner:
            raise Refusal(400, 9, "etcdserver: can only promote a learner member")
        running = self.running.get(learner.member_id)
        if running is None or not running.in_sync:
            raise Refusal(400, 9, "etcdserver: can only promote a learner member which is in sync with leader")
        learner.learner = False
        return self._all()

    def _named(self, body: Mapping[str, Any]) -> EtcdMember:
        found = self.members.get(int(body["ID"]))
        if found is None:
            raise Refusal(404, 5, "etcdserver: member not found")
        return found

    def _require_quorum(self, member_id: int) -> None:
        if not self.serves(member_id):
            raise _NO_ANSWER


_NO_ANSWER = Refusal(503, 14, "etcdserver: request timed out")


class EtcdClusters:
    """All etcd clusters of a runner."""

    def __init__(self) -> None:
        self._clusters: dict[str, EtcdCluster] = {}

    def all(self) -> list[EtcdCluster]:
        """Every cluster of which a member runs or holds data."""
        return list(self._clusters.values())

    def join(self, settings: Mapping[str, str], name: str) -> tuple[EtcdCluster, int]:
        """The cluster and the id of a member that has no data yet, by the settings it is started with.

        Raises CannotJoin where the real one ends at its start.
        """
        initial = dict(entry.partition("=")[::2] for entry in settings.get("initial-cluster", "").split(",") if entry)
        advertised = settings.get("initial-advertise-peer-urls", "")
        if initial.get(name) != advertised:
            raise CannotJoin(
                f"--initial-cluster has {name}={initial.get(name)} but missing from "
                f"--initial-advertise-peer-urls={advertised}"
            )
        token = settings.get("initial-cluster-token", "etcd-cluster")
        if settings.get("initial-cluster-state", "new") == "existing":
            return self._join_existing(initial, advertised)
        return self._join_new(token, initial, name)

    def rejoin(self, identity: str, member_id: int) -> EtcdCluster:
        """The cluster of a member that has its data. Raises CannotJoin when it was removed meanwhile."""
        cluster = self._clusters.get(identity)
        if cluster is None or member_id not in cluster.members:
            raise CannotJoin("the member has been permanently removed from the cluster")
        return cluster

    def forget_data(self, identity: str, member_id: int) -> None:
        """A member's disk is gone; with the last one, so is all that the cluster stored."""
        cluster = self._clusters.get(identity)
        if cluster is None:
            return
        cluster.holders.discard(member_id)
        if not cluster.holders:
            del self._clusters[identity]

    def serving(self, url: str) -> tuple[EtcdCluster, RunningMember] | None:
        """The cluster and member that answer at a client URL."""
        for cluster in self._clusters.values():
            for member in cluster.running.values():
                if url.rstrip("/") in member.client_urls:
                    return cluster, member
        return None

    def _join_new(self, token: str, initial: dict[str, str], name: str) -> tuple[EtcdCluster, int]:
        identity = json.dumps([token, sorted(initial.items())])
        if identity not in self._clusters:
            ids = {_id_of(f"{identity}/{peer}"): peer for peer in sorted(initial)}
            members = {each: EtcdMember(each, (initial[peer],), peer) for each, peer in ids.items()}
            self._clusters[identity] = EtcdCluster(identity, Storage(identity), members)
        cluster = self._clusters[identity]
        member_id = _id_of(f"{identity}/{name}")
        if member_id not in cluster.members or cluster.members[member_id].client_urls:
            raise CannotJoin(f"member {name} has already been bootstrapped")
        return cluster, member_id

    def _join_existing(self, initial: dict[str, str], advertised: str) -> tuple[EtcdCluster, int]:
        wanted = sorted((url,) for url in initial.values())
        for cluster in self._clusters.values():
            if sorted(member.peer_urls for member in cluster.members.values()) != wanted:
                continue
            member = next(each for each in cluster.members.values() if advertised in each.peer_urls)
            if member.client_urls:
                raise CannotJoin(
                    "tocommit is out of range [lastIndex(0)]. Was the raft log corrupted, truncated, or lost?"
                )
            return cluster, member.member_id
        raise CannotJoin(
            "error validating peerURLs: member count is unequal or unmatched member while checking PeerURLs"
        )


def _id_of(text: str) -> int:
    """An id as etcd makes them, of 64 bits; also some that begin with zeros."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") or 1
