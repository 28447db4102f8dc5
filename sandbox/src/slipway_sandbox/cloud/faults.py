"""Faults somebody asked for: which calls they hit, and what they do to the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from http import HTTPStatus
from types import NoneType
from typing import Any

from slipway_sandbox.cloud.messages import Breakage, Json, Refused, Request, Response
from slipway_sandbox.cloud.wording import unauthorized, word

ANY = ""


class Effect(StrEnum):
    """What a fault does to a call."""

    STATUS = "status"
    """The call is not done; the answer is an error of the given status."""
    DELAY = "delay"
    """The call is done; the answer comes later."""
    TIMEOUT_AFTER = "timeout-after"
    """The call is done; the caller sees a read timeout and never learns of it."""
    TIMEOUT_BEFORE = "timeout-before"
    """The call is not done; the caller sees a read timeout."""
    REFUSE = "refuse"
    """The connection fails."""
    EMPTY_LIST = "empty-list"
    """A list comes back empty, with 200."""
    PARTIAL_LIST = "partial-list"
    """A list comes back with its first half only and says nothing of it."""
    FOREIGN_LIST = "foreign-list"
    """A list comes back as if it were of another project: other ids, nothing known."""
    CUT = "cut"
    """The call is done; the body breaks off in the middle."""


@dataclass
class Fault:
    """One rule; empty fields match everything, `count` None means until it is cleared."""

    effect: Effect
    service: str = ANY
    method: str = ANY
    path: str = ANY
    status: int = 503
    message: str = ""
    count: int | None = 1
    skip: int = 0
    seconds: float = 0.0
    retry_after: int | None = None
    id: int = 0
    hits: int = 0

    def matches(self, service: str, request: Request) -> bool:
        """Whether it speaks of this call, used up or not."""
        return (
            self.service in (ANY, service)
            and self.method.upper() in (ANY, request.method)
            and re.search(self.path, request.path) is not None
        )

    @property
    def spent(self) -> bool:
        """Whether it will not act any more."""
        return self.count is not None and self.hits >= self.count

    def view(self) -> Json:
        """The rule as GET /_control/faults shows it."""
        return asdict(self)


FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("effect", "service", "method", "path", "message"), (str,)),
    **dict.fromkeys(("status", "skip"), (int,)),
    **dict.fromkeys(("count", "retry_after"), (int, NoneType)),
    "seconds": (int, float),
}
"""What may be said of a fault over HTTP."""


@dataclass
class Faults:
    """The armed faults of one cloud, oldest first."""

    rules: list[Fault] = field(default_factory=list)
    given: int = 0

    def add(self, fault: Fault) -> Fault:
        """Arm a fault and give it a number."""
        re.compile(fault.path)
        self.given += 1
        fault.id = self.given
        self.rules.append(fault)
        return fault

    def clear(self, fault_id: int | None = None) -> None:
        """Forget one fault, or all."""
        self.rules = [rule for rule in self.rules if fault_id not in (None, rule.id)]

    def pick(self, service: str, request: Request) -> Fault | None:
        """The first armed fault for a call; it counts as used."""
        for rule in self.rules:
            if rule.spent or not rule.matches(service, request):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.hits += 1
            return rule
        return None


def parse_fault(body: Json) -> Fault:
    """A fault from JSON; ValueError names what is wrong with it."""
    unknown = body.keys() - FIELDS
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}; known are {sorted(FIELDS)}")
    wrong = {name: value for name, value in body.items() if type(value) not in FIELDS[name]}
    if wrong:
        raise ValueError(f"this makes no sense: {wrong}")
    fault = Fault(**{**body, "effect": Effect(body.get("effect", "status"))})
    HTTPStatus(fault.status)
    try:
        re.compile(fault.path)
    except re.error as error:
        raise ValueError(str(error)) from error
    return fault


def afflict(fault: Fault, service: str, new_id: Callable[[], str], work: Callable[[], Response]) -> Response:
    """Answer a call under a fault; `work` does the call, for effects that let it happen."""
    if fault.effect is Effect.STATUS and fault.status == 401 and not fault.message:
        return unauthorized(service, "http://sandbox")
    if fault.effect is Effect.STATUS:
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        message = fault.message or "The sandbox was asked to fail this call."
        return word(service, Refused(fault.status, message, "InjectedFault", headers))
    if fault.effect is Effect.REFUSE:
        return Response(503, breakage=Breakage.REFUSED)
    if fault.effect is Effect.TIMEOUT_BEFORE:
        return Response(504, breakage=Breakage.TIMEOUT)
    response = work()
    if fault.effect is Effect.DELAY:
        response.delay = fault.seconds
    elif fault.effect is Effect.TIMEOUT_AFTER:
        response.breakage = Breakage.TIMEOUT
    elif fault.effect is Effect.CUT:
        response.breakage = Breakage.CUT
    else:
        _spoil_list(fault.effect, response, new_id)
    return response


def _spoil_list(effect: Effect, response: Response, new_id: Callable[[], str]) -> None:
    try:
        payload = response.json()
    except ValueError:
        return
    if not isinstance(payload, dict):
        return
    lists = {key: value for key, value in payload.items() if isinstance(value, list) and not key.endswith("_links")}
    for key, items in lists.items():
        payload.pop(f"{key}_links", None)
        payload[key] = _spoiled(effect, items, new_id)
    response.body = json.dumps(payload).encode()


def _spoiled(effect: Effect, items: list[Any], new_id: Callable[[], str]) -> list[Any]:
    if effect is Effect.EMPTY_LIST:
        return []
    if effect is Effect.PARTIAL_LIST:
        return items[: len(items) // 2]
    project = new_id().replace("-", "")
    return [
        {**item, "id": new_id(), "tenant_id": project, "project_id": project, "name": "foreign"}
        if isinstance(item, dict)
        else item
        for item in items
    ]
