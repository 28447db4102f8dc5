"""What each kind of action does on a fake machine, and when it has nothing to do."""

from __future__ import annotations

import json

import pytest

from slipway_node_agent.effects import Executed, Fetch
from slipway_node_agent.testing import a_plan

from .a_world import ADMIN, CA, CLIENT, KUBELET, PLAN, PROBE, UNIT, a_world, finish, reported


def test_a_unit_is_restarted_only_for_a_reason() -> None:
    services = a_world(a_plan(("kubelet", [CA, {**UNIT, "restart_on": ["/pki/ca.crt"]}])))
    driver = finish(services)
    assert services.host.restarts == {"kubelet.service": 1}
    reasons = {
        "another file that it reads": [{**CA, "content": "CA 2"}, {**UNIT, "restart_on": ["/pki/ca.crt"]}],
        "another text": [{**CA, "content": "CA 2"}, {**UNIT, "content": "[Unit]", "restart_on": ["/pki/ca.crt"]}],
    }
    for revision, actions in enumerate(reasons.values(), start=2):
        services.plans.append(a_plan(("kubelet", actions), revision=revision))
        driver.until(lambda revision=revision: reported(services, "done", revision))
        assert services.host.restarts == {"kubelet.service": revision}
    services.plans.append({**services.plans[-1], "revision": 4})
    driver.until(lambda: reported(services, "done", 4))
    assert services.host.restarts == {"kubelet.service": 3}, "the same plan again"
    services.host.units["kubelet.service"] = "failed"
    services.plans.append({**services.plans[-1], "revision": 5})
    driver.until(lambda: reported(services, "done", 5))
    assert services.host.restarts == {"kubelet.service": 4}, "it was down"


def test_a_running_unit_of_the_image_is_left_alone() -> None:
    services = a_world(a_plan(("containerd", [{"kind": "unit", "name": "containerd.service"}])))
    services.host.units["containerd.service"] = "active"
    finish(services)
    assert services.host.restarts == {}


def test_a_unit_that_notifies_late_is_left_to_the_probes() -> None:
    services = a_world(a_plan(("etcd", [{"kind": "unit", "name": "etcd.service"}])))
    services.host.units["etcd.service"] = "activating"
    finish(services)
    assert services.host.restarts == {"etcd.service": 1}


def test_a_command_is_run_again_only_when_its_inputs_changed() -> None:
    def config(content: str, revision: int) -> dict:
        count = {"kind": "command", "argv": ["count"], "redo_on": ["/in"]}
        return a_plan(("step", [{"kind": "file", "path": "/in", "content": content}, count]), revision=revision)

    services, runs = a_world(config("1", 1)), []
    services.host.programs["count"] = lambda host, effect: Executed(0) if runs.append(1) is None else Executed(1)
    driver = finish(services)
    for revision, (content, expected) in enumerate([("1", 1), ("2", 2), ("2", 2)], start=2):
        services.plans.append(config(content, revision))
        driver.until(lambda revision=revision: reported(services, "done", revision))
        assert len(runs) == expected


def test_a_changed_input_brings_the_short_lived_credentials_back() -> None:
    services = a_world()
    driver = finish(services)
    newer = json.loads(json.dumps(PLAN).replace('"v1"', '"v2"'))
    services.plans.append({**newer, "revision": 2})
    driver.until(lambda: reported(services, "done", 2))
    assert services.host.read_file("/manifest") == "made from v2"
    assert services.certificate_calls == [["client", "admin"], ["admin"]]
    assert "failed" not in {report["state"] for report in services.reports}


REASONS = {
    "its file is missing": lambda s: s.host.remove("/pki/c.crt"),
    "its key is missing": lambda s: s.host.remove("/pki/c.key"),
    "it is for another key": lambda s: s.host.write_file("/pki/c.key", "KEY 99", 0o600),
    "it is no certificate": lambda s: s.host.write_file("/pki/c.crt", "garbage", 0o644),
    "it has expired": lambda s: s.host.write_file("/pki/c.crt", "CERT 2 2029-01-01T00:00:00+00:00", 0o644),
    "its generation moved": lambda s: s.plans.append(a_plan(("step", [{**CLIENT, "generation": 2}]), revision=2)),
}


@pytest.mark.parametrize("spoil", REASONS.values(), ids=REASONS.keys())
def test_a_certificate_is_asked_for_again_when(spoil) -> None:
    services = a_world(a_plan(("step", [CLIENT])))
    finish(services)
    spoil(services)
    services.reports.clear()
    finish(services, services.plans[-1]["revision"])
    assert services.certificate_calls == [["client"], ["client"]]
    key, cert = services.host.read_file("/pki/c.key"), services.host.read_file("/pki/c.crt")
    assert services.host.certificate(cert).public_key == services.host.public_key(key)


def test_a_file_of_another_mode_is_mended() -> None:
    services = a_world(a_plan(("step", [{**CA, "mode": 0o600}])))
    services.host.write_file("/pki/ca.crt", "CA", 0o644)
    finish(services)
    assert services.host.mode("/pki/ca.crt") == 0o600


def test_an_artifact_that_is_there_is_not_fetched_but_made_executable() -> None:
    services = a_world(a_plan(("step", [KUBELET])))
    services.host.write_file(KUBELET["path"], "kubelet 1.36", 0o644)
    driver = finish(services)
    assert not [effect for effect in driver.effects if isinstance(effect, Fetch)]
    assert services.host.mode(KUBELET["path"]) == 0o755


NEEDED = {
    "a probe uses them": [PROBE],
    "nothing says that they were used": [],
    "a command always runs": [{"kind": "command", "argv": ["kubeadm", "again"]}],
}


@pytest.mark.parametrize("users", NEEDED.values(), ids=NEEDED.keys())
def test_short_lived_credentials_are_made_where(users) -> None:
    removal = {"kind": "remove", "path": ADMIN["kubeconfig_path"]}
    services = a_world(a_plan(("step", [CA, ADMIN, *users, removal])))
    finish(services)
    finish(services)
    assert services.certificate_calls == [["admin"]], "the certificate itself was not removed"
    assert "/etc/kubernetes/admin.conf" not in services.host.files
