"""The agent and the contracts hold together: it reads what they write, and they accept what it says."""

from __future__ import annotations

import random
from typing import Any

import pytest

from slipway_contracts import agent as protocol
from slipway_node_agent.config import AgentConfig, load_bootstrap
from slipway_node_agent.effects import Call, Executed
from slipway_node_agent.observations import observe_loop
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.progress import DONE, FAILED, PENDING, RUNNING, WAITING
from slipway_node_agent.testing import NODE, TOKEN, FakeDriver, FakeServices, a_host, sha256

PLAN = protocol.Plan(
    node_id=NODE,
    revision=7,
    steps=(
        protocol.PlanStep(
            name="everything",
            title="One of each",
            actions=(
                protocol.Artifact(url="http://mirror/etcd", sha256=sha256("etcd"), path="/usr/local/bin/etcd"),
                protocol.Package(
                    name="containerd",
                    programs=("containerd",),
                    places=("/usr/local/bin", "/usr/bin"),
                    url="http://mirror/containerd.tar.gz",
                    sha256=sha256("archive of bin/containerd"),
                    folder="/usr/local",
                    archive=True,
                ),
                protocol.UnitFile(name="containerd.service", content="[Service]"),
                protocol.File(path="/pki/ca.crt", content="CA"),
                protocol.Certificate(
                    name="client",
                    key_path="/pki/c.key",
                    cert_path="/pki/c.crt",
                    kubeconfig_path="/etc/kubernetes/kubelet.conf",
                    kubeconfig_server="https://10.0.0.9:6443",
                    kubeconfig_ca_path="/pki/ca.crt",
                    kubeconfig_user="system:node:worker-1",
                ),
                protocol.ProgramVersion(
                    program="runc", argv=("runc", "--version"), at_least="1.1.0", code="RuntimeOutOfRange"
                ),
                protocol.Command(argv=("modprobe", "br_netfilter"), env={"A": "b"}),
                protocol.Unit(name="etcd.service", content="[Service]", restart_on=("/pki/c.crt",)),
                protocol.Remove(path="/tmp/admin.conf"),
            ),
        ),
        protocol.PlanStep(
            name="etcd-health",
            title="etcd answers",
            actions=(
                protocol.HttpProbe(
                    url="https://127.0.0.1:2379/health",
                    ca_path="/pki/ca.crt",
                    waiting_code="WaitingForEtcd",
                    waiting="etcd has no quorum yet",
                    for_others=True,
                ),
            ),
        ),
    ),
)

BODIES: dict[str, type[protocol.Value]] = {
    "/v1/agent/claim": protocol.Claim,
    "/v1/agent/certificates": protocol.CertificateRequests,
    "/v1/agent/report": protocol.PlanReport,
    "/v1/agent/observations": protocol.Observation,
}


MIRROR = {"http://mirror/etcd": "etcd", "http://mirror/containerd.tar.gz": "archive of bin/containerd"}


def bodies(driver: FakeDriver) -> list[tuple[str, dict[str, Any]]]:
    return [(e.path, e.body) for e in driver.effects if isinstance(e, Call) and e.body is not None]


def a_node() -> FakeServices:
    services = FakeServices(a_host(), plans=[PLAN.model_dump(mode="json")], mirror=dict(MIRROR))
    services.host.programs["runc"] = lambda *_: Executed(0, "runc version 1.1.5")
    services.host.programs["modprobe"] = lambda host, effect: Executed(0 if effect.env == {"A": "b"} else 1)
    return services


def test_every_action_of_the_protocol_is_applied_and_every_body_is_valid() -> None:
    services = a_node()
    plans = FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(1))))
    plans.until(lambda: bool(services.reports) and services.reports[-1]["state"] == "waiting")
    observing = FakeDriver(services, observe_loop(services.host, AgentConfig(random=random.Random(1))))
    observing.until(lambda: bool(services.observations))
    services.host.endpoints["https://127.0.0.1:2379/health"] = 200
    plans.until(lambda: services.reports[-1]["state"] == "done")
    observing.until(lambda: services.observations[-1]["applied_revision"] == 7)
    said = bodies(plans) + bodies(observing)
    assert {path for path, _ in said} == set(BODIES)
    for path, body in said:
        model = BODIES[path].model_validate(body)
        assert set(body) == set(type(model).model_fields), "nothing unknown, nothing left out"
    last = protocol.PlanReport.model_validate(services.reports[-1])
    assert [step.name for step in last.steps] == [step.name for step in PLAN.steps]
    assert "system:node:worker-1" in (services.host.read_file("/etc/kubernetes/kubelet.conf") or "")


def test_a_failure_report_is_valid() -> None:
    services = a_node()
    services.mirror.clear()
    FakeDriver(services, plan_loop(services.host, AgentConfig())).until(
        lambda: bool(services.reports) and services.reports[-1]["state"] == "failed"
    )
    assert protocol.PlanReport.model_validate(services.reports[-1]).steps[0].code == "ArtifactUnreachable"


def test_defaults_are_those_of_the_contracts() -> None:
    """A plan dumped without its defaults is applied alike."""
    ends = []
    for sparse in (False, True):
        services = a_node()
        services.plans = [PLAN.model_dump(mode="json", exclude_defaults=sparse)]
        for step in services.plans[0]["steps"]:
            for action, whole in zip(
                step["actions"],
                next(s for s in PLAN.steps if s.name == step["name"]).actions,
            ):
                action["kind"] = whole.kind
        services.host.endpoints["https://127.0.0.1:2379/health"] = 200
        FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(1)))).until(
            lambda services=services: bool(services.reports) and services.reports[-1]["state"] == "done"
        )
        ends.append({path: facts for path, facts in services.host.files.items() if "state.json" not in path})
    assert ends[0] == ends[1]


def test_the_bootstrap_file_is_read_as_written() -> None:
    written = protocol.AgentBootstrap(
        url="https://agents.example:8443", ca_pem="CA", token=TOKEN, node_id=NODE, program_sha256="0" * 64
    )
    host = a_host()
    host.write_file("/etc/slipway/agent.json", written.model_dump_json(), 0o600)
    read = load_bootstrap(host)
    assert (read.url, read.ca_pem, read.token, read.node_id) == (written.url, "CA", TOKEN, NODE)


@pytest.mark.parametrize("state", [PENDING, RUNNING, WAITING, DONE, FAILED])
def test_step_states_are_the_contracts_own(state: str) -> None:
    assert protocol.StepState(state).value == state


def test_unit_states_are_the_contracts_own() -> None:
    assert {state.value for state in protocol.UnitState} == {"active", "activating", "inactive", "failed", "absent"}
