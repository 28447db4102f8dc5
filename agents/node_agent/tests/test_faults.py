"""Each fault of a step has its code and its evidence, without secrets, and passes when its cause does."""

from __future__ import annotations

import json

import pytest

from slipway_node_agent.effects import Executed, Reply
from slipway_node_agent.testing import TOKEN, FakeHost, FakeServices, a_plan

from .a_world import ADMIN, CA, CLIENT, KUBELET, UNIT, a_world, memory, reported, start, step_report


def failing(action: dict, arrange=lambda services: None) -> FakeServices:
    services = a_world(a_plan(("step", [CA, action])))
    arrange(services)
    start(services).until(lambda: reported(services, "failed"))
    return services


FAULTS = {
    "an artifact with another digest": (
        KUBELET,
        lambda s: s.mirror.update({KUBELET["url"]: "x"}),
        "ArtifactDigestMismatch",
    ),
    "a mirror without the artifact": (KUBELET, lambda s: s.mirror.clear(), "ArtifactUnreachable"),
    "a unit that fails at its start": (UNIT, lambda s: s.host.broken_units.add("kubelet.service"), "UnitNotActive"),
    "a unit of the image that is not there": ({"kind": "unit", "name": "x.service"}, lambda s: None, "UnitNotFound"),
    "a command that is not there": ({"kind": "command", "argv": ["nonsense"]}, lambda s: None, "CommandFailed"),
    "a command that makes nothing": (
        {"kind": "command", "argv": ["true"], "creates": "/x"},
        lambda s: s.host.programs.update(true=lambda host, effect: Executed(0)),
        "CommandFailed",
    ),
    "a command that hangs": (
        {"kind": "command", "argv": ["sleep"]},
        lambda s: s.host.programs.update(sleep=lambda host, effect: Executed(None, "...")),
        "CommandTimedOut",
    ),
    "a signer that is away": (CLIENT, lambda s: s.down.add("/v1/agent/certificates"), "ProvisionerUnreachable"),
    "a signer that refuses": (
        CLIENT,
        lambda s: s.refuse.update({"/v1/agent/certificates": Reply(409, {"detail": "revision 1 is old"})}),
        "CertificatesNotSigned",
    ),
    "a signer that forgets one": (
        CLIENT,
        lambda s: s.refuse.update({"/v1/agent/certificates": Reply(200, {"certificates": []})}),
        "CertificateMismatch",
    ),
    "a certificate that has expired already": (CLIENT, lambda s: setattr(s, "signed_for", -1.0), "ClockSkew"),
    "a kubeconfig before its CA": ({**ADMIN, "kubeconfig_ca_path": "/none"}, lambda s: None, "MalformedPlan"),
    "an action of a newer protocol": ({"kind": "teleport"}, lambda s: None, "UnknownAction"),
    "an action without its fields": ({"kind": "command"}, lambda s: None, "MalformedPlan"),
}


@pytest.mark.parametrize(("action", "arrange", "code"), FAULTS.values(), ids=FAULTS.keys())
def test_each_fault_is_reported_with_its_code(action: dict, arrange, code: str) -> None:
    if code == "ClockSkew":
        services = a_world(a_plan(("step", [action])))
        driver = start(services)
        driver.until(lambda: bool(services.claims) and bool(services.reports))
        arrange(services)
        driver.until(lambda: reported(services, "failed"))
    else:
        services = failing(action, arrange)
    entry = step_report(services, "step")
    assert entry["code"] == code
    assert entry["message"]
    assert services.host.read_file("/usr/local/bin/kubelet") is None
    assert memory(services.host)["applied_revision"] == 0


def test_evidence_holds_no_secrets() -> None:
    secret = {"kind": "file", "path": "/secret.yaml", "content": "key: c2VjcmV0LW9mLXRoZS1jbHVzdGVy\n", "mode": 0o600}
    leak = {"kind": "command", "argv": ["leak"], "env": {"S3_SECRET": "another-secret-value"}}
    services = a_world(a_plan(("step", [secret, leak])))
    pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQ\n-----END EC PRIVATE KEY-----"
    printed = (
        f"why: disk full\n{TOKEN}\nkey: c2VjcmV0LW9mLXRoZS1jbHVzdGVy\nanother-secret-value\n{pem}\npassword=hunter22"
    )
    services.host.programs["leak"] = lambda host, effect: Executed(3, printed)
    start(services).until(lambda: reported(services, "failed"))
    said = json.dumps(services.reports) + "\n".join(services.host.journal)
    for hidden in (TOKEN, "c2VjcmV0", "another-secret", "MHcCAQ", "hunter22"):
        assert hidden not in said
    assert "why: disk full" in said


def test_a_full_disk_fails_the_step_and_not_the_agent() -> None:
    class FullHost(FakeHost):
        def write_file(self, path: str, content: str, mode: int) -> None:
            if path == "/pki/ca.crt":
                raise OSError(28, "No space left on device")
            super().write_file(path, content, mode)

    services = a_world(a_plan(("step", [CA])))
    services.host = FullHost(**vars(services.host))
    start(services).until(lambda: reported(services, "failed"))
    assert "No space left" in step_report(services, "step")["message"]


def test_an_agent_that_cannot_remember_applies_its_plan_all_the_same() -> None:
    class ForgetfulHost(FakeHost):
        def write_file(self, path: str, content: str, mode: int) -> None:
            if path.endswith("/state.json"):
                raise OSError(28, "No space left on device")
            super().write_file(path, content, mode)

    services = a_world(a_plan(("step", [CA])))
    services.host = ForgetfulHost(**vars(services.host))
    start(services).until(lambda: reported(services, "done"))
    assert any("Cannot remember the plan" in line and "No space left" in line for line in services.host.journal)
