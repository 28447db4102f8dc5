"""Lists, page by page: all pages of one list show the objects as they were at its first page."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from slipway_sandbox.machines.kubernetes import statuses
from slipway_sandbox.machines.kubernetes.selectors import parse_selectors
from slipway_sandbox.machines.kubernetes.storage import Compacted, Object, Storage


@dataclass(frozen=True)
class Page:
    """Some of the items, and the list's metadata."""

    items: list[Object]
    metadata: dict[str, Any]


def read_page(storage: Storage, qualified: str, namespace: str | None, query: dict[str, str]) -> Page:
    """The page that a request asks for. Raises Refused for selectors or a continuation that cannot be read."""
    matches = parse_selectors(query, qualified)
    revision, after = _read_continue(query["continue"]) if query.get("continue") else (storage.revision, None)
    try:
        values = storage.objects_at(qualified, namespace, revision)
    except Compacted:
        message = "The provided continue parameter is too old to display a consistent list result."
        raise statuses.expired(message) from None
    items = [value for value in values if matches(value) and (after is None or _key(value) > after)]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    limit = int(query.get("limit") or 0)
    if limit and len(items) > limit:
        metadata["continue"] = _continue(revision, items[limit - 1])
        if not query.get("labelSelector") and not query.get("fieldSelector"):
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    return Page(items, metadata)


def _key(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _continue(revision: int, last: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps([revision, *_key(last)]).encode()).decode()


def _read_continue(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
        return int(revision), (str(namespace), str(name))
    except (ValueError, TypeError) as broken:
        raise statuses.bad_request(f"invalid continue token: continue key is not valid: {broken}") from broken
