"""The agent's side of the protocol with Slipway's services: which calls there are, and which answers mean success."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slipway_node_agent.config import CERT_PATH, KEY_PATH, TRUST_PATH
from slipway_node_agent.effects import Call, CallFailed, Doing, Reply, call
from slipway_node_agent.plan_shape import decide_fault
from slipway_node_agent.retry import decide_retry_after


class ServiceFailed(Exception):
    """A service did not answer, or not with success. `status` is None when it did not answer at all."""

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Provisioner:
    """The provisioner's agent endpoint, as one node uses it. Every method raises ServiceFailed."""

    origin: str
    node_id: str

    def time(self) -> Doing[str | None]:
        """The server's clock as RFC 3339; asked without an identity."""
        reply = yield from self._call("GET", "/v1/agent/time", identified=False)
        now = (reply.body or {}).get("now")
        return now if isinstance(now, str) else None

    def claim(self, claim: Mapping[str, Any]) -> Doing[dict[str, Any]]:
        """Binds the token to the agent's key; asked without an identity."""
        reply = yield from self._call("POST", "/v1/agent/claim", dict(claim), identified=False)
        return _object(reply)

    def plan(self, after: int, wait: int) -> Doing[dict[str, Any] | None]:
        """A plan newer than revision `after` that can be begun, or None when there was none within `wait` seconds."""
        path = f"/v1/agent/plan?after={after}&wait={wait}"
        reply = yield from self._call("GET", path, timeout=wait + 15.0)
        if reply.status == 204:
            return None
        plan = _object(reply)
        fault = decide_fault(plan, self.node_id)
        if fault is not None:
            raise ServiceFailed(fault, reply.status)
        return plan if int(plan["revision"]) > after else None

    def certificates(self, revision: int, requests: Mapping[str, str]) -> Doing[dict[str, str]]:
        """Signed certificates by name for CSRs by name."""
        wanted = [{"name": name, "csr_pem": csr} for name, csr in requests.items()]
        body = {"revision": revision, "requests": wanted}
        reply = yield from self._call("POST", "/v1/agent/certificates", body)
        try:
            return {entry["name"]: entry["certificate_pem"] for entry in _object(reply)["certificates"]}
        except (KeyError, TypeError):
            raise ServiceFailed("the provisioner's answer holds no list of certificates", reply.status) from None

    def report(self, report: Mapping[str, Any]) -> Doing[None]:
        """How far the plan is."""
        yield from self._call("POST", "/v1/agent/report", dict(report))

    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        timeout: float = 15.0,
        identified: bool = True,
    ) -> Doing[Reply]:
        return _answered(
            (yield from call(_request(method, "provisioner", self.origin, path, body, timeout, identified)))
        )


@dataclass(frozen=True)
class Monitor:
    """The monitor's agent endpoint. Raises ServiceFailed."""

    origin: str

    def observations(self, observation: Mapping[str, Any]) -> Doing[None]:
        """What the agent sees of its own node."""
        request = _request("POST", "monitor", self.origin, "/v1/agent/observations", dict(observation), 10.0, True)
        _answered((yield from call(request)))


def _request(
    method: str, base: str, origin: str, path: str, body: dict[str, Any] | None, timeout: float, identified: bool
) -> Call:
    return Call(
        method=method,
        base=base,
        path=path,
        origin=origin,
        ca_path=TRUST_PATH,
        body=body,
        cert_path=CERT_PATH if identified else None,
        key_path=KEY_PATH if identified else None,
        timeout=timeout,
    )


def _answered(answer: Reply | CallFailed) -> Reply:
    if isinstance(answer, CallFailed):
        raise ServiceFailed(answer.message)
    if not 200 <= answer.status < 300:
        raise ServiceFailed(_refusal(answer), answer.status, decide_retry_after(answer.headers))
    return answer


def _refusal(reply: Reply) -> str:
    """The server's own sentence: `detail` or `title` of problem details (RFC 9457)."""
    body = reply.body or {}
    said = body.get("detail") or body.get("title")
    return f"answered {reply.status}: {said}"[:500] if isinstance(said, str) else f"answered {reply.status}"


def _object(reply: Reply) -> dict[str, Any]:
    if reply.body is None:
        raise ServiceFailed(f"answered {reply.status} without a JSON object", reply.status)
    return reply.body
