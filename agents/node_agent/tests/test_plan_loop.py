"""The plan loop on a fake machine: when it asks, what it reports, when a newer plan takes over."""

from __future__ import annotations

import pytest

from slipway_node_agent.config import load_identity
from slipway_node_agent.effects import Probe, Reply, Wait
from slipway_node_agent.testing import a_plan

from .a_world import CA, CLIENT, HEALTHZ, PLAN, PROBE, UNIT, a_world, finish, memory, reported, start, step_report

ACCESS = {"url": "https://127.0.0.1:2379", "ca_path": "/ca", "cert_path": "/c", "key_path": "/k"}
A_MEMBERS_PLAN = {**a_plan(), "steps": [{"name": "etcd", "title": "Start etcd", "actions": [], "etcd": ACCESS}]}


def test_a_plan_is_applied_and_each_step_is_reported() -> None:
    services = a_world()
    finish(services)
    host = services.host
    assert host.files["/usr/local/bin/kubelet"] == ("kubelet 1.36", 0o755)
    assert host.files["/pki/c.key"][1] == 0o600
    assert host.read_file("/manifest") == "made from v1"
    assert host.units == {"kubelet.service": "active"}
    assert not {"/etc/kubernetes/admin.conf", "/pki/admin.key"} & set(host.files)
    assert services.certificate_calls == [["client", "admin"]], "one call for all that a step needs"
    seen = [tuple(step["state"] for step in report["steps"]) for report in services.reports]
    assert ("done", "running", "pending") in seen
    assert seen[-1] == ("done", "done", "done")
    assert memory(host)["applied_revision"] == 1


def test_an_applied_plan_repeated_after_a_restart_changes_nothing_and_asks_for_nothing() -> None:
    services = a_world()
    finish(services)
    before, restarts = dict(services.host.files), dict(services.host.restarts)
    services.reports.clear()
    services.fetches.clear()
    services.certificate_calls.clear()
    finish(services)
    assert services.host.files == before
    assert services.host.restarts == restarts
    assert not services.fetches
    assert not services.certificate_calls, "the removed admin credential is not needed, so not asked for"
    assert {report["state"] for report in services.reports} == {"done"}, "no news"


def test_a_probe_waits_and_says_for_what_and_for_whom() -> None:
    services = a_world(a_plan(("etcd", [{**PROBE, "for_others": True}])))
    services.host.endpoints[HEALTHZ] = 503
    driver = start(services)
    driver.until(lambda: reported(services, "waiting"))
    entry = step_report(services, "etcd")
    assert (entry["code"], entry["for_others"]) == ("WaitingForKubelet", True)
    assert entry["message"] == f"the kubelet starts ({HEALTHZ}: 503)"
    sent, since, begun = len(services.reports), entry["since"], services.host.seconds
    driver.until(lambda: len(services.reports) > sent)
    assert services.host.seconds - begun >= 60, "an unchanged wait is repeated once a minute only"
    assert services.host.seconds - begun < 75
    assert step_report(services, "etcd")["since"] == since
    services.host.endpoints[HEALTHZ] = 200
    driver.until(lambda: reported(services, "done"))


def test_a_probe_that_times_out_fails_with_the_units_log_and_is_tried_again() -> None:
    services = a_world(a_plan(("kubelet", [{**UNIT, "restart_on": []}, {**PROBE, "timeout": 30}])))
    services.host.endpoints.clear()
    driver = start(services)
    driver.until(lambda: reported(services, "failed"))
    assert 30 <= services.host.seconds < 45
    entry = step_report(services, "kubelet")
    assert entry["code"] == "ProbeTimedOut"
    assert "connection refused" in entry["message"]
    assert services.reports[-1]["log_tail"] == "kubelet.service says active"
    services.host.endpoints[HEALTHZ] = 200
    driver.until(lambda: reported(services, "done"))
    assert services.reports[-1]["log_tail"] is None


def test_a_newer_plan_takes_over_while_a_step_waits() -> None:
    services = a_world(a_plan(("wait", [PROBE])))
    services.host.endpoints.clear()
    driver = start(services)
    driver.until(lambda: reported(services, "waiting"))
    services.plans.append(a_plan(("file", [CA]), revision=2))
    begun = services.host.seconds
    driver.until(lambda: reported(services, "done", 2))
    assert services.host.seconds - begun <= 10
    assert memory(services.host)["applied_revision"] == 2
    assert memory(services.host)["watched_probes"] == []


def test_a_newer_plan_takes_over_while_a_step_fails() -> None:
    services = a_world(a_plan(("broken", [{"kind": "command", "argv": ["nonsense"]}])))
    driver = start(services)
    driver.until(lambda: reported(services, "failed"))
    services.plans.append(a_plan(("file", [CA]), revision=2))
    driver.until(lambda: reported(services, "done", 2))


def test_a_finished_node_asks_once_a_minute_and_applies_what_is_new() -> None:
    services = a_world()
    driver = finish(services)
    calls, begun = services.calls, services.host.seconds
    driver.until(lambda: services.host.seconds - begun > 3600)
    assert 48 <= services.calls - calls <= 80
    services.plans.append({**PLAN, "revision": 2})
    driver.until(lambda: reported(services, "done", 2))


def test_an_undelivered_last_report_is_sent_as_soon_as_the_provisioner_is_back() -> None:
    services = a_world(a_plan(("file", [CA])))
    driver = start(services)
    services.down = {"/v1/agent/report"}
    driver.until(lambda: memory(services.host).get("applied_revision") == 1)
    for _ in range(10):
        driver.step()
    services.down = set()
    begun = services.host.seconds
    driver.until(lambda: reported(services, "done"))
    assert services.host.seconds - begun <= 61


def test_a_report_that_is_lost_again_and_again_is_sent_with_growing_pauses() -> None:
    services = a_world(a_plan(("file", [CA])))
    driver = start(services)
    services.down = {"/v1/agent/report"}
    driver.until(lambda: memory(services.host).get("applied_revision") == 1)
    calls, begun = services.calls, services.host.seconds
    driver.until(lambda: services.host.seconds - begun > 600)
    assert services.calls - calls <= 50, "a report and a question each time"


def test_a_failed_step_is_tried_again_with_growing_pauses_from_that_step() -> None:
    services = a_world()
    services.mirror.clear()
    driver = start(services)
    driver.until(lambda: len(services.fetches) == 8)
    assert 60 <= services.host.seconds <= 180
    services.mirror["http://mirror/kubelet"] = "kubelet 1.36"
    driver.until(lambda: reported(services, "done"))


def test_a_signer_that_asks_for_patience_gets_it() -> None:
    services = a_world(a_plan(("step", [CLIENT])))
    services.refuse["/v1/agent/certificates"] = Reply(429, {}, {"retry-after": "40"})
    driver = start(services)
    driver.until(lambda: reported(services, "failed"))
    begun = services.host.seconds
    services.refuse.clear()
    driver.until(lambda: bool(services.certificate_calls))
    assert services.host.seconds - begun >= 40


@pytest.mark.parametrize(
    "plan",
    [
        {"node_id": "another", "revision": 1, "steps": []},
        {"node_id": "node-1", "revision": 1},
        {"node_id": "node-1", "revision": "x", "steps": []},
        a_plan(("twice", []), ("twice", [])),
        a_plan(("step", [{"path": "/x"}])),
    ],
    ids=["of another node", "without steps", "without revision", "with a step twice", "with an action of no kind"],
)
def test_a_plan_is_not_begun_when_it_is(plan: dict) -> None:
    services = a_world()
    services.refuse["/v1/agent/plan"] = Reply(200, plan)
    driver = start(services)
    driver.until(lambda: any("No plan" in line for line in services.host.journal))
    assert not services.reports
    services.refuse.clear()
    driver.until(lambda: reported(services, "done"))


def test_nothing_is_asked_in_a_hot_loop_by_a_server_that_does_not_hold_back() -> None:
    services = a_world(None)
    services.refuse["/v1/agent/plan"] = Reply(204)
    driver = start(services)
    driver.until(lambda: services.host.seconds > 100)
    assert services.calls < 120


def test_effects_name_paths_and_bounds() -> None:
    services = a_world()
    driver = finish(services)
    for effect in driver.effects:
        if isinstance(effect, Probe):
            assert 0 < effect.timeout <= 5
        elif isinstance(effect, Wait):
            assert effect.seconds >= 0
        else:
            assert effect.timeout > 0


def test_a_member_of_etcd_waits_for_its_next_plan_and_nobody_else_does() -> None:
    services = a_world(A_MEMBERS_PLAN)
    driver = finish(services)
    services.patience.clear()
    driver.until(lambda: len(services.patience) == 2)
    assert services.patience == [30, 30]
    services.plans.append(a_plan(("programs", []), revision=2))
    driver.until(lambda: reported(services, "done", 2))
    services.patience.clear()
    driver.until(lambda: len(services.patience) == 2)
    assert services.patience == [0, 0]


def test_members_of_etcd_that_are_let_go_together_do_not_come_back_together() -> None:
    asked_again = set()
    for seed in range(20):
        services = a_world(A_MEMBERS_PLAN)
        driver = start(services, seed)
        driver.until(lambda services=services: reported(services, "done"))
        services.refuse["/v1/agent/plan"] = Reply(204)
        begun, calls = services.host.seconds, services.calls
        driver.until(lambda services=services, calls=calls: services.calls == calls + 2)
        asked_again.add(round(services.host.seconds - begun, 2))
    assert max(asked_again) - min(asked_again) > 1
    assert min(asked_again) >= 0.5


def test_a_member_of_etcd_sends_a_lost_report_again_before_it_waits() -> None:
    services = a_world(A_MEMBERS_PLAN)
    driver = start(services)
    services.down = {"/v1/agent/report"}
    driver.until(lambda: memory(services.host).get("applied_revision") == 1)
    services.patience.clear()
    driver.until(lambda: len(services.patience) == 2)
    assert services.patience == [0, 0]
    services.down = set()
    driver.until(lambda: reported(services, "done"))


def test_an_agent_whose_key_the_provisioner_has_forgotten_claims_again_with_it() -> None:
    services = a_world()
    finish(services)
    before = services.claims[-1]["csr_pem"].split()[1]
    services.refuse["/v1/agent/plan"] = Reply(403, {"title": "this key does not speak for the node"})
    driver = start(services)
    driver.until(lambda: len(services.claims) == 2)
    assert services.claims[-1]["csr_pem"].split()[1] == before
    del services.refuse["/v1/agent/plan"]
    asked = len(services.patience)
    driver.until(lambda: len(services.patience) > asked)


def test_an_agent_whose_claim_is_refused_keeps_its_identity_and_does_not_ask_in_a_hot_loop() -> None:
    services = a_world()
    finish(services)
    services.refuse["/v1/agent/plan"] = services.refuse["/v1/agent/claim"] = Reply(403, {"title": "another key"})
    begun, driver = services.calls, start(services)
    since = services.host.seconds
    driver.until(lambda: services.host.seconds - since > 600)
    assert load_identity(services.host) is not None
    assert services.calls - begun < 100
