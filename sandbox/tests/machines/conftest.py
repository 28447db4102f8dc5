"""A model on a stepping clock, and a clock to step."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from slipway_sandbox.machines.kubernetes import Controllers, KubernetesModel, Storage, User
from slipway_sandbox.machines.kubernetes.rbac import MASTER


@dataclass
class Clock:
    """Stands still until it is stepped."""

    time: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def step(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class Api:
    """Requests to a model, as one user."""

    def __init__(self, model: KubernetesModel, clock: Clock) -> None:
        self.model = model
        self.clock = clock
        self.controllers = Controllers(model.storage, clock)

    def send(
        self, method: str, path: str, body: Any = None, *, user: User = MASTER, kind: str = "", **query: str
    ) -> tuple[int, Any]:
        headers = {"User-Agent": "test/1", "Content-Type": kind or "application/merge-patch+json"}
        return self.model.handle(method, path, query, headers, body, user)

    def apply(self, path: str, body: Any, manager: str = "slipway", **query: str) -> tuple[int, Any]:
        return self.send("PATCH", path, body, kind="application/apply-patch+yaml", fieldManager=manager, **query)

    def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        status, answer = self.send(method, path, body, **more)
        assert status < 300, answer
        return answer

    def node(self, name: str, **labels: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        self.ok(
            "POST", "/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "status": {"conditions": [ready]}}
        )
        self.heartbeat(name)

    def heartbeat(self, name: str) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"renewTime": self.clock().isoformat()}
        status, _ = self.send("PATCH", f"{leases}/{name}", {"spec": spec})
        if status == 404:
            self.ok("POST", leases, {"metadata": {"name": name}, "spec": spec})

    def settle(self, passes: int = 6) -> None:
        for _ in range(passes):
            self.controllers.step()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Api:
    return Api(KubernetesModel(Storage("test"), clock), clock)
