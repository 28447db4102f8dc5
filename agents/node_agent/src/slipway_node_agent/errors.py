"""How applying a plan can stop: a step fails and is tried again, or a newer plan takes over."""

from __future__ import annotations

from typing import Any


class StepFailed(Exception):
    """A code for machines, a sentence for people, and the end of what the failing program printed."""

    def __init__(self, code: str, message: str, log_tail: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.log_tail = log_tail
        self.retry_after = retry_after


class NewerPlan(Exception):
    """The provisioner has a newer plan: the one at hand is left where it is."""

    def __init__(self, plan: dict[str, Any]) -> None:
        super().__init__(f"revision {plan.get('revision')}")
        self.plan = plan
