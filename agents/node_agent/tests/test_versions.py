"""Programs that came with the image and are too old, too new, or not there."""

from __future__ import annotations

import random
from typing import Any

import pytest

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Executed
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import NODE, FakeDriver, FakeServices, a_host
from slipway_node_agent.versions import decide_version, find_version


def a_check(**changes: Any) -> dict[str, Any]:
    check = {
        "kind": "program_version",
        "program": "containerd",
        "argv": ["containerd", "--version"],
        "at_least": "2.0.0",
        "below": "3.0.0",
        "code": "RuntimeOutOfRange",
    }
    return {**check, **changes}


def a_machine(output: str, *checks: dict[str, Any], exit_code: int = 0) -> FakeServices:
    host = a_host()
    host.programs["containerd"] = lambda *_: Executed(exit_code, output)
    file = {"kind": "file", "path": "/made", "content": "x"}
    plan = {"node_id": NODE, "revision": 1, "steps": [{"name": "machine", "title": "M", "actions": [*checks, file]}]}
    return FakeServices(host, plans=[plan])


def step_of(services: FakeServices) -> dict[str, Any]:
    step: dict[str, Any] = services.reports[-1]["steps"][0]
    return step


def applied(services: FakeServices) -> FakeDriver:
    driver = FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(1))))
    driver.until(lambda: bool(services.reports) and services.reports[-1]["state"] in ("done", "failed"))
    return driver


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7", (2, 1, 4)),
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1", (1, 6, 20)),
        ("runc version 1.1.5+ds1\nspec: 1.0.2-dev", (1, 1, 5)),
        ("no such thing", None),
    ],
)
def test_the_first_version_in_the_output_counts(output: str, version: tuple[int, ...] | None) -> None:
    assert find_version(output) == version


@pytest.mark.parametrize(
    ("found", "below", "fits"),
    [((2, 0, 0), None, True), ((1, 99, 99), None, False), ((10, 0, 0), None, True), ((3, 0, 0), "3.0.0", False)],
)
def test_versions_are_compared_as_numbers(found: tuple[int, ...], below: str | None, *, fits: bool) -> None:
    assert (decide_version(a_check(below=below), found) is None) is fits


def test_a_version_in_the_range_is_no_news() -> None:
    services = a_machine("containerd v2.1.4", a_check())
    applied(services)
    assert (step_of(services)["state"], step_of(services)["code"]) == ("done", None)


def test_a_version_out_of_the_range_stops_the_node_before_anything_is_done() -> None:
    services = a_machine("containerd 1.6.20", a_check())
    applied(services)
    assert (step_of(services)["state"], step_of(services)["code"]) == ("failed", "RuntimeOutOfRange")
    assert (
        step_of(services)["message"] == "containerd is 1.6.20; this release needs 2.0.0 or newer, and older than 3.0.0"
    )
    assert not services.host.exists("/made")


def test_a_program_that_is_not_there_says_so() -> None:
    services = a_machine("command not found", a_check(), exit_code=127)
    applied(services)
    assert step_of(services)["code"] == "ProgramMissing"


def test_what_the_region_lets_pass_is_done_with_a_word_also_after_a_restart() -> None:
    services = a_machine("containerd 1.6.20", a_check(lenient=True), a_check(lenient=True, program="runc"))
    applied(services)
    step = step_of(services)
    assert (step["state"], step["code"]) == ("done", "RuntimeOutOfRange")
    assert step["message"].count("the region lets it pass") == 2
    assert services.host.exists("/made")
    services.reports.clear()
    applied(services)
    assert (step_of(services)["state"], step_of(services)["code"]) == ("done", "RuntimeOutOfRange")
