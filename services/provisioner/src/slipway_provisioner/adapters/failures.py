"""How the cloud's failures become the two kinds that a reconciler knows. Pure, but for the exceptions' own types."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import requests
from keystoneauth1 import exceptions

from slipway_chassis.errors import GiveUp, RetryLater
from slipway_contracts.values import Mover
from slipway_provisioner.ports import Conflict, OutcomeUnknown

SOON = timedelta(seconds=2)
WHEN_BUSY = timedelta(seconds=5)
WHEN_OTHERS_ACT = timedelta(seconds=30)
LONGEST_RETRY_AFTER = timedelta(minutes=5)

_WORDS = ("quota", "overquota", "exceeded for")


def failure_of(service: str, method: str, status: int, text: str, headers: Mapping[str, str]) -> RetryLater | GiveUp:
    """What an answer with an error status means. The message is the cloud's own, which never holds a secret of ours."""
    message = _message(text) or f"{service} answered {status}"
    if status == 401:
        return RetryLater(
            WHEN_OTHERS_ACT,
            "CloudRefusesUser",
            f"Slipway's user is refused by {service}: {message}",
            whose_move=Mover.OPERATOR,
        )
    if _is_quota(status, message):
        return RetryLater(WHEN_OTHERS_ACT, "QuotaExceeded", message, whose_move=Mover.USER)
    if status == 403:
        return RetryLater(
            WHEN_OTHERS_ACT,
            "CloudForbids",
            f"Slipway's user may not do this in the project ({service}: {message}); grant it the role member",
            whose_move=Mover.OPERATOR,
        )
    if status == 409:
        return Conflict(SOON, "CloudConflict", message, whose_move=Mover.CLOUD)
    if status in (413, 429, 503):
        after = retry_after(headers) or WHEN_BUSY
        return RetryLater(after, "CloudBusy", f"{service} asks to come later: {message}", whose_move=Mover.CLOUD)
    if status >= 500:
        kind = RetryLater if method == "GET" else OutcomeUnknown
        return kind(WHEN_BUSY, "CloudFailed", f"{service} answered {status}: {message}", whose_move=Mover.CLOUD)
    return GiveUp("CloudRefuses", f"{service}: {message}")


def failure_from(service: str, error: Exception) -> RetryLater:
    """What it means that no answer came, or that there was no token to ask with."""
    said = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, exceptions.Unauthorized | exceptions.Forbidden):
        return RetryLater(
            WHEN_OTHERS_ACT,
            "CloudRefusesUser",
            f"Slipway's user is refused by the cloud: {said}",
            whose_move=Mover.OPERATOR,
        )
    if isinstance(error, exceptions.CatalogException | exceptions.DiscoveryFailure):
        return RetryLater(
            WHEN_OTHERS_ACT, "CloudIncomplete", f"The cloud does not offer {service}: {said}", whose_move=Mover.OPERATOR
        )
    if isinstance(error, exceptions.HttpError):
        return RetryLater(WHEN_BUSY, "CloudBusy", f"{service} could not be asked: {said}", whose_move=Mover.CLOUD)
    kind = RetryLater if was_not_sent(error) else OutcomeUnknown
    return kind(WHEN_BUSY, "CloudDoesNotAnswer", f"{service} does not answer: {said}", whose_move=Mover.CLOUD)


def was_not_sent(error: BaseException) -> bool:
    """Whether the request certainly did not reach the cloud: there was no connection to send it on."""
    for each in _causes(error):
        if isinstance(each, requests.exceptions.ConnectTimeout | requests.exceptions.SSLError):
            return True
        if isinstance(each, requests.exceptions.ConnectionError) and "refused" in str(each):
            return True
    return False


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Retry-After in seconds, within reason; dates are not used by OpenStack."""
    value = headers.get("Retry-After", "")
    return min(timedelta(seconds=int(value)), LONGEST_RETRY_AFTER) if value.isdigit() else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_quota(status: int, message: str) -> bool:
    return status in (403, 409, 413) and any(word in message.lower() for word in _WORDS)


def _message(text: str) -> str:
    """The sentence in an error body, whichever of OpenStack's shapes it has."""
    try:
        body: Any = json.loads(text)
    except ValueError:
        return text.strip()[:300]
    if not isinstance(body, dict):
        return ""
    if "faultstring" in body:
        return str(body["faultstring"])[:500]
    inner = next((each for each in body.values() if isinstance(each, dict)), body)
    return str(inner.get("message") or inner.get("detail") or "")[:500]
