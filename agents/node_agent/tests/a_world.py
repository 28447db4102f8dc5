"""A fake machine, a plan with every kind of action, and how far the agent is with it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from slipway_node_agent.config import AgentConfig
from slipway_node_agent.effects import Executed
from slipway_node_agent.plans import plan_loop
from slipway_node_agent.testing import FakeDriver, FakeHost, FakeServices, a_host, a_plan, sha256

HEALTHZ = "http://127.0.0.1:10248/healthz"
KUBELET = {
    "kind": "artifact",
    "url": "http://mirror/kubelet",
    "sha256": sha256("kubelet 1.36"),
    "path": "/usr/local/bin/kubelet",
}
CA = {"kind": "file", "path": "/pki/ca.crt", "content": "CA"}
CLIENT = {"kind": "certificate", "name": "client", "key_path": "/pki/c.key", "cert_path": "/pki/c.crt"}
ADMIN = {
    "kind": "certificate",
    "name": "admin",
    "key_path": "/pki/admin.key",
    "cert_path": "/pki/admin.crt",
    "kubeconfig_path": "/etc/kubernetes/admin.conf",
    "kubeconfig_server": "https://endpoint:6443",
    "kubeconfig_ca_path": "/pki/ca.crt",
    "kubeconfig_user": "kubernetes-admin",
}
PHASE = {"kind": "command", "argv": ["kubeadm", "init", "phase"], "creates": "/manifest", "redo_on": ["/kubeadm.yaml"]}
UNIT = {"kind": "unit", "name": "kubelet.service", "content": "[Service]", "restart_on": ["/pki/c.crt"]}
PROBE = {"kind": "http_probe", "url": HEALTHZ, "waiting_code": "WaitingForKubelet", "waiting": "the kubelet starts"}
PLAN = a_plan(
    ("programs", [KUBELET]),
    (
        "control-plane",
        [
            CA,
            {"kind": "file", "path": "/kubeadm.yaml", "content": "v1"},
            CLIENT,
            ADMIN,
            PHASE,
            *({"kind": "remove", "path": ADMIN[key]} for key in ("kubeconfig_path", "key_path", "cert_path")),
        ],
    ),
    ("kubelet", [UNIT, PROBE]),
)


def kubeadm(host: FakeHost, effect: object) -> Executed:
    if "/etc/kubernetes/admin.conf" not in host.files:
        return Executed(1, "admin.conf does not exist")
    host.write_file("/manifest", f"made from {host.read_file('/kubeadm.yaml')}", 0o600)
    return Executed(0, "ok")


def a_world(plan: dict[str, Any] | None = PLAN) -> FakeServices:
    host = a_host()
    host.programs["kubeadm"] = kubeadm
    host.endpoints[HEALTHZ] = 200
    return FakeServices(host, plans=[plan] if plan else [], mirror={"http://mirror/kubelet": "kubelet 1.36"})


def start(services: FakeServices, seed: int = 1) -> FakeDriver:
    return FakeDriver(services, plan_loop(services.host, AgentConfig(random=random.Random(seed))))


def reported(services: FakeServices, state: str, revision: int = 1) -> bool:
    last = services.reports[-1] if services.reports else {"state": None, "revision": 0}
    return (last["state"], last["revision"]) == (state, revision)


def finish(services: FakeServices, revision: int = 1) -> FakeDriver:
    driver = start(services)
    driver.until(lambda: reported(services, "done", revision))
    return driver


def step_report(services: FakeServices, name: str) -> dict[str, Any]:
    return next(entry for entry in services.reports[-1]["steps"] if entry["name"] == name)


def memory(host: FakeHost) -> dict[str, Any]:
    return json.loads(host.read_file("/var/lib/slipway/state.json") or "{}")


def outcome(host: FakeHost) -> dict[str, Any]:
    """All that a finished node is, except that keys made twice have other numbers."""
    files = {path: (text.split()[0], mode) for path, (text, mode) in host.files.items()}
    own = {path for path in files if path.startswith("/var/lib/slipway/state")}
    return {
        "files": {path: facts for path, facts in files.items() if path not in own},
        "units": host.units,
        "applied": memory(host)["applied_revision"],
    }


def require_the_same_end_after_any_cut(make: Callable[[], FakeServices]) -> None:
    """Killed after each of its effects and started again after a boot, the agent leaves what it leaves undisturbed."""
    wanted = make()
    effects = len(finish(wanted).effects)
    for cut in range(1, effects):
        services = make()
        killed = start(services)
        for _ in range(cut):
            killed.step()
        killed.loop.close()
        services.host.reboot()
        finish(services)
        assert outcome(services.host) == outcome(wanted.host), f"cut after effect {cut}"
