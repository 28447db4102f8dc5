"""The agent changes etcd's membership: the same cases on the emulated etcd and on real processes.

The agent's own action is driven; what it asks of etcd's JSON gateway goes to either. Without TLS, which is not what is
compared here. KUBEBUILDER_ASSETS names the folder of a real etcd.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Answer, Call, CallFailed, Effect, Probe, ProbeAnswer, Reply
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import FakeDriver, FakeServices, a_host, a_plan
from slipway_sandbox.machines.etcd_cluster import EtcdClusters, RunningMember
from slipway_sandbox.machines.programs.etcd import Seat

ETCD = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere")) / "etcd"
BOUND = 60.0
"""Seconds for anything that a real etcd does."""


NET = f"127.{100 + os.getpid() % 100}.230"
"""Addresses of this process alone: real members of tests that run beside each other do not meet."""


def client(number: int) -> str:
    return f"http://{NET}.{number}:2379"


def peer(number: int) -> str:
    return f"http://{NET}.{number}:2380"


class Members(Protocol):
    """Members by their number, and what they answer."""

    def start(self, number: int, name: str, initial: dict[str, str], state: str) -> None: ...
    def lose(self, number: int) -> None: ...
    def ask(self, number: int, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None: ...
    def look(self, url: str) -> int | None: ...


class Emulated:
    """The sandbox's."""

    def __init__(self) -> None:
        self.clusters = EtcdClusters()
        self.seats: dict[int, tuple[Seat, RunningMember]] = {}

    def start(self, number: int, name: str, initial: dict[str, str], state: str) -> None:
        flags = {
            "initial-cluster": ",".join(f"{each}={url}" for each, url in initial.items()),
            "initial-cluster-state": state,
            "initial-advertise-peer-urls": peer(number),
        }
        cluster, member_id = self.clusters.join(flags, name)
        run = RunningMember(name, (client(number),), None, None)
        cluster.start(member_id, run)
        run.in_sync = True
        self.seats[number] = Seat(cluster, member_id), run

    def lose(self, number: int) -> None:
        seat, run = self.seats.pop(number)
        seat.cluster.stop(seat.member_id, run)
        self.clusters.forget_data(seat.cluster.identity, seat.member_id)

    def ask(self, number: int, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        return self.seats[number][0].ask(path, body) if number in self.seats else None

    def look(self, url: str) -> int | None:
        number = int(url.split(":")[1].rpartition(".")[2])
        return self.seats[number][0].answer("/health")[0] if number in self.seats else None


class Real:
    """Processes of this computer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, name: str, initial: dict[str, str], state: str) -> None:
        flags = {
            "name": name,
            "data-dir": str(self.folder / str(number)),
            "initial-cluster": ",".join(f"{each}={url}" for each, url in initial.items()),
            "initial-cluster-state": state,
            "initial-advertise-peer-urls": peer(number),
            "listen-peer-urls": peer(number),
            "listen-client-urls": client(number),
            "advertise-client-urls": client(number),
            "strict-reconfig-check": "true",
            "unsafe-no-fsync": "true",
            "feature-gates": "SetMemberLocalAddr=true",
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            arguments = [f"--{key}={value}" for key, value in flags.items()]
            self.processes[number] = subprocess.Popen([ETCD, *arguments], stdout=log, stderr=log)

    def lose(self, number: int) -> None:
        self.stop(number)
        shutil.rmtree(self.folder / str(number))

    def stop(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def ask(self, number: int, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(client(number) + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return None

    def look(self, url: str) -> int | None:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return None


@pytest.fixture
def count() -> int:
    """How many members there are; a test may want another number."""
    return 3


@pytest.fixture(params=["emulated", "real"])
def members(request: pytest.FixtureRequest, tmp_path: Path, count: int) -> Iterator[Members]:
    """Three members, m1 to m3, or so many, with a quorum."""
    numbers = range(1, count + 1)
    if request.param == "real" and not ETCD.exists():
        pytest.skip("set KUBEBUILDER_ASSETS to a folder with etcd (setup-envtest, or a release's tarball)")
    etcd: Emulated | Real = Emulated() if request.param == "emulated" else Real(tmp_path)
    with contextlib.ExitStack() as ending:
        if isinstance(etcd, Real):
            ending.callback(lambda: [etcd.stop(number) for number in list(etcd.processes)])
        for number in numbers:
            etcd.start(number, f"m{number}", {f"m{each}": peer(each) for each in numbers}, "new")
        until(lambda: all(etcd.look(client(number) + "/health") == 200 for number in numbers))
        until(lambda: all(listed.get("clientURLs") for listed in members_of(etcd)))
        yield etcd


def until(condition: Callable[[], bool]) -> None:
    """Bounded."""
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "not within the bound"
        time.sleep(0.05)


def members_of(etcd: Members, by: int = 1) -> list[dict[str, Any]]:
    answer = etcd.ask(by, "/v3/cluster/member/list", {"linearizable": False})
    assert answer is not None
    return list(answer[1]["members"])


class Helper(FakeDriver):
    """The agent beside one member, with a plan whose only step changes the membership."""

    def __init__(self, etcd: Members, number: int, **action: Any) -> None:
        step = {
            "kind": "etcd_member",
            "url": client(number),
            **dict.fromkeys(("ca_path", "cert_path", "key_path"), "/pki"),
            "name": "m3-2",
            "peer_url": peer(3),
            "waiting_code": "WaitingForEtcdLearner",
            "waiting": "the new member of etcd is catching up",
            **action,
        }
        services = FakeServices(a_host(), plans=[a_plan(("etcd-membership", [step]))])
        super().__init__(services, plan_loop(services.host, AgentConfig()))
        self.etcd, self.number = etcd, number

    def _perform(self, effect: Effect) -> Answer:
        if isinstance(effect, Call) and effect.base == "etcd":
            answer = self.etcd.ask(self.number, effect.path, effect.body or {})
            return Reply(*answer) if answer is not None else CallFailed("connection refused")
        if isinstance(effect, Probe):
            status = self.etcd.look(effect.url)
            return ProbeAnswer(status, str(status))
        return super()._perform(effect)

    def report(self) -> dict[str, Any]:
        return dict(self.services.reports[-1]["steps"][0]) if self.services.reports else {"state": None, "code": None}

    def reaches(self, state: str, code: str | None = None) -> str | None:
        """Runs until the step says so, real time bounded; its result."""
        end = time.monotonic() + BOUND
        while (self.report()["state"], self.report()["code"]) != (state, code):
            assert time.monotonic() < end, self.report()
            self.step()
        result = self.report()["result"]
        return str(result) if result is not None else None


def start_successor(etcd: Members, name: str = "m3-2") -> None:
    etcd.start(3, name, {"m1": peer(1), "m2": peer(2), name: peer(3)}, "existing")


def test_a_lost_members_place_is_given_to_its_successor(members: Members) -> None:
    members.lose(3)
    added = Helper(members, 1).reaches("done")
    assert [
        (each.get("name"), each.get("isLearner")) for each in members_of(members) if peer(3) in each["peerURLs"]
    ] == [(None, True)]
    Helper(members, 2, member_id=added).reaches("waiting", "WaitingForEtcdLearner")
    start_successor(members)
    assert Helper(members, 2, member_id=added).reaches("done") == added
    until(lambda: members.look(client(3) + "/health") == 200)
    voters = {each["name"] for each in members_of(members) if not each.get("isLearner")}
    assert voters == {"m1", "m2", "m3-2"}


def test_nothing_is_removed_where_no_majority_would_be_left(members: Members) -> None:
    members.lose(3)
    members.lose(2)
    helper = Helper(members, 1)
    helper.reaches("waiting", "WaitingForEtcd")
    assert len(members_of(members)) == 3


def test_a_member_that_answers_is_not_removed(members: Members) -> None:
    Helper(members, 1).reaches("waiting", "EtcdMemberAnswers")
    assert {each["name"] for each in members_of(members)} == {"m1", "m2", "m3"}


def test_another_helper_replaces_a_learner_that_never_started(members: Members) -> None:
    members.lose(3)
    first = Helper(members, 1).reaches("done")
    second = Helper(members, 2).reaches("done")
    assert first != second
    assert len(members_of(members)) == 3
    Helper(members, 1, member_id=first).reaches("failed", "EtcdMemberMissing")


def test_a_dead_learner_makes_room_for_the_next_incarnation(members: Members) -> None:
    members.lose(3)
    Helper(members, 1).reaches("done")
    start_successor(members)
    until(lambda: any(each.get("name") == "m3-2" and each.get("clientURLs") for each in members_of(members)))
    members.lose(3)
    added = Helper(members, 1, name="m3-3").reaches("done")
    start_successor(members, "m3-3")
    assert Helper(members, 1, name="m3-3", member_id=added).reaches("done") == added


def test_repeated_by_the_same_agent_it_changes_nothing(members: Members) -> None:
    members.lose(3)
    helper = Helper(members, 1)
    added = helper.reaches("done")
    again = Helper(members, 1)
    again.host.files.update(helper.host.files)
    assert again.reaches("done") == added
    start_successor(members)
    until(lambda: any(each.get("name") == "m3-2" and each.get("clientURLs") for each in members_of(members)))
    assert Helper(members, 2).reaches("done") == added, "a member of that name is there"


def test_a_dead_learner_of_another_change_does_not_keep_this_one_out(members: Members) -> None:
    members.ask(1, "/v3/cluster/member/add", {"peerURLs": [peer(4)], "isLearner": True})
    members.lose(3)
    Helper(members, 1).reaches("done")
    assert {url for each in members_of(members) for url in each["peerURLs"]} == {peer(1), peer(2), peer(3)}


@pytest.mark.parametrize("learner", [True, False], ids=["a learner", "a voter"])
@pytest.mark.parametrize("count", [3, 5])
def test_nobody_is_added_while_a_voter_does_not_answer(members: Members, count: int, learner: bool) -> None:
    members.lose(count)
    until(lambda: members.look(client(1) + "/health") == 200)
    answer = members.ask(1, "/v3/cluster/member/add", {"peerURLs": [peer(9)], "isLearner": learner})
    assert answer is not None
    status, said = answer
    assert (status, said["code"], said["message"]) == (503, 14, "etcdserver: unhealthy cluster")
    assert len(members_of(members)) == count
