"""The change of etcd's membership by an agent that knows only an old plan; all else is in tests/conformance."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Call, Reply
from slipway_node_agent.etcd import observe_etcd
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import FakeDriver, FakeServices, a_host, a_plan

from .a_world import reported, step_report

ADD = {
    "kind": "etcd_member",
    "url": "https://127.0.0.1:2379",
    "ca_path": "/ca",
    "cert_path": "/c",
    "key_path": "/k",
    "name": "x-2",
    "peer_url": "https://x:2380",
    "waiting": "it does not vote yet",
}
STEP = "etcd-add-x-2"


@dataclass
class WithEtcd(FakeServices):
    """The agent's own member of etcd is the one with the id 1."""

    changes: list[str] = field(default_factory=list)

    def _add(self, call: Call) -> Reply:
        assert call.body is not None
        self.changes.append(f"add {call.body['peerURLs'][0]}")
        member = {"ID": "9", "peerURLs": call.body["peerURLs"], "isLearner": True}
        self.members.append(member)
        return Reply(200, {"member": member})

    def _remove(self, call: Call) -> Reply:
        assert call.body is not None
        self.changes.append(f"remove {call.body['ID']}")
        self.members = [each for each in self.members if each["ID"] != call.body["ID"]]
        return Reply(200, {})


def a_helper() -> tuple[WithEtcd, FakeDriver]:
    """An agent that is to give the place of x to x-2; the member there does not answer, the others are well."""
    services = WithEtcd(a_host(), plans=[a_plan((STEP, [ADD]))])
    names = ("m1", "m2", "x-3")
    services.members = [
        {"ID": str(number), "name": name, "peerURLs": [f"https://{name[:2]}:2380"], "clientURLs": [f"https://{name}"]}
        for number, name in enumerate(names, start=1)
    ]
    services.members[2]["peerURLs"] = [ADD["peer_url"]]
    services.host.endpoints = {"https://127.0.0.1:2379/health": 200, "https://m2/health": 200}
    return services, FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(1))))


def test_by_the_newest_plan_the_place_is_given_away() -> None:
    services, driver = a_helper()
    driver.until(lambda: reported(services, "done"))
    assert services.changes == ["remove 3", f"add {ADD['peer_url']}"]
    assert step_report(services, STEP)["result"] == f"{9:016x}"


def test_nothing_is_changed_by_a_plan_that_may_be_an_old_one() -> None:
    services, driver = a_helper()
    driver.until(lambda: bool(services.patience))
    services.down = {"/v1/agent/plan"}
    driver.until(lambda: reported(services, "waiting"))
    assert step_report(services, STEP)["code"] == "ProvisionerUnreachable"
    begun = services.host.seconds
    driver.until(lambda: services.host.seconds - begun > 120)
    assert services.changes == []
    services.down = set()
    services.plans.append(a_plan(("etcd", []), revision=2))
    driver.until(lambda: reported(services, "done", 2))
    assert services.changes == []


def test_an_answer_of_etcd_that_cannot_be_read_is_waited_out_and_not_observed() -> None:
    services, driver = a_helper()
    members, services.members = services.members, [{"name": "m1"}]
    driver.until(lambda: reported(services, "waiting"))
    assert step_report(services, STEP)["code"] == "WaitingForEtcd"
    assert "cannot be read" in step_report(services, STEP)["message"]
    access = {name: ADD[name] for name in ("url", "ca_path", "cert_path", "key_path")}
    observing = FakeDriver(services, observe_etcd(access))
    with pytest.raises(StopIteration) as ended:
        observing.until(lambda: False)
    assert ended.value.value is None
    services.members = members
    driver.until(lambda: reported(services, "done"))
