"""The observation loop on a fake machine."""

from __future__ import annotations

import json
import random

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Reply
from slipway_node_agent.observations import observe_loop
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import FakeDriver, FakeServices, a_host, a_plan

HEALTHZ = "http://127.0.0.1:10248/healthz"


def probe(url: str, *statuses: int) -> dict:
    words = {"waiting_code": "Waiting", "waiting": "it starts"}
    return {"kind": "http_probe", "url": url, "statuses": list(statuses or (200,)), **words}


PLAN = a_plan(
    ("kubelet", [{"kind": "unit", "name": "kubelet.service", "content": "x"}, probe(HEALTHZ)]),
    ("etcd", [probe("https://10.0.0.5:2379/health"), probe("https://localhost:2381/health", 200, 503)]),
    ("endpoint", [probe("https://10.0.0.99:6443/readyz")]),
)


def a_node(seed: int = 1) -> tuple[FakeServices, FakeDriver]:
    """A node that has begun its plan, and its observation loop."""
    services = FakeServices(a_host(), plans=[PLAN])
    services.host.endpoints[HEALTHZ] = 200
    plans = FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(seed))))
    plans.until(lambda: bool(services.reports) and services.reports[-1]["state"] == "waiting")
    return services, FakeDriver(services, observe_loop(services.host, AgentConfig(random=random.Random(seed))))


def test_units_and_own_probes_are_observed_while_the_plan_is_stuck() -> None:
    services, driver = a_node()
    services.host.endpoints["https://localhost:2381/health"] = 503
    driver.until(lambda: bool(services.observations))
    seen = services.observations[0]
    assert seen["applied_revision"] == 0
    assert seen["boot_id"] == "boot-1"
    assert seen["units"] == [{"name": "kubelet.service", "state": "active"}]
    assert [(entry["name"], entry["healthy"], entry["saw"]) for entry in seen["probes"]] == [
        ("kubelet", True, "200"),
        ("etcd", False, "connection refused"),
        ("etcd-2", True, "503"),
    ], "the endpoint is not the node's own"


def test_nothing_is_pushed_before_the_claim() -> None:
    services = FakeServices(a_host())
    driver = FakeDriver(services, observe_loop(services.host, AgentConfig()))
    driver.until(lambda: services.host.seconds > 20)
    assert services.calls == 0


def test_the_pace_is_steady() -> None:
    services, driver = a_node()
    begun = services.host.seconds
    driver.until(lambda: len(services.observations) == 31)
    assert 299 <= services.host.seconds - begun <= 301


def test_a_monitor_that_is_away_costs_one_line_and_no_burst_follows() -> None:
    services, driver = a_node()
    services.down = {"/v1/agent/observations"}
    begun = services.host.seconds
    driver.until(lambda: services.host.seconds - begun > 600)
    assert len([line for line in services.host.journal if "Observations not delivered" in line]) == 1
    services.down = set()
    back = services.host.seconds
    driver.until(lambda: len(services.observations) == 4)
    assert services.host.seconds - back >= 30
    assert any("Observations delivered again" in line for line in services.host.journal)


def test_a_busy_monitor_gets_the_time_it_asks_for() -> None:
    services, driver = a_node()
    services.refuse["/v1/agent/observations"] = Reply(429, None, {"retry-after": "90"})
    begun = services.host.seconds
    while "answered 429" not in services.host.journal[-1]:
        driver.step()
    services.refuse.clear()
    driver.until(lambda: bool(services.observations))
    assert services.host.seconds - begun >= 90


def test_a_reboot_and_a_stopped_unit_are_seen() -> None:
    services, driver = a_node()
    services.host.reboot()
    services.host.units["kubelet.service"] = "failed"
    driver.until(lambda: bool(services.observations))
    assert services.observations[-1]["boot_id"] == "boot-2"
    assert services.observations[-1]["units"][0]["state"] == "failed"


def test_it_goes_on_after_a_restart_of_the_agent_without_the_provisioner() -> None:
    services, _ = a_node()
    services.down = {"/v1/agent/plan"}
    again = FakeDriver(services, observe_loop(services.host, AgentConfig()))
    again.until(lambda: bool(services.observations))
    assert services.observations[-1]["units"] == [{"name": "kubelet.service", "state": "active"}]


def test_a_lost_memory_is_no_reason_to_stop() -> None:
    services, driver = a_node()
    services.host.write_file("/var/lib/slipway/state.json", "{ torn", 0o600)
    driver.until(lambda: bool(services.observations))
    assert services.observations[-1]["units"] == []
    assert json.dumps(services.observations[-1])
