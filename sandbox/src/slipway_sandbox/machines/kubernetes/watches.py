"""Watches: what happened to a resource since a revision, as events of its own selector's view."""

from typing import Any

from slipway_sandbox.machines.kubernetes.queries import flag
from slipway_sandbox.machines.kubernetes.selectors import Predicate
from slipway_sandbox.machines.kubernetes.statuses import expired
from slipway_sandbox.machines.kubernetes.storage import Change, Compacted, Object, Storage

Event = dict[str, Any]


class Watch:
    """One client's watch. `poll` never blocks; `ended` is set when the client must list again."""

    def __init__(
        self, storage: Storage, resource: str, namespace: str | None, matches: Predicate, query: dict[str, str]
    ) -> None:
        self._storage = storage
        self._resource = resource
        self._namespace = namespace
        self._matches = matches
        self._pending: list[Event] = []
        self.bookmarks = flag(query, "allowWatchBookmarks")
        self.ended = False
        asked = query.get("resourceVersion", "")
        initial = flag(query, "sendInitialEvents")
        if asked in ("", "0") or initial:
            self._revision = storage.revision
            present = [value for value in storage.objects(resource, namespace) if matches(value)]
            self._pending = [{"type": "ADDED", "object": value} for value in present]
            if initial and self.bookmarks:
                self._pending.append(self.bookmark({"k8s.io/initial-events-end": "true"}))
        else:
            self._revision = int(asked) if asked.isdigit() else 0

    def poll(self) -> list[Event]:
        """All events since the last call."""
        events, self._pending = self._pending, []
        try:
            changes = self._storage.changes_since(self._revision, self._resource)
        except Compacted:
            self.ended = True
            gone = expired(f"too old resource version: {self._revision} ({self._storage.revision})")
            return [*events, {"type": "ERROR", "object": gone.status()}]
        self._revision = self._storage.revision
        return events + [event for change in changes if (event := self._event(change))]

    def bookmark(self, annotations: dict[str, str] | None = None) -> Event:
        """An event that only says how far the watch is."""
        metadata: dict[str, Any] = {"resourceVersion": str(self._revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        return {"type": "BOOKMARK", "object": {"metadata": metadata}}

    def _event(self, change: Change) -> Event | None:
        before = change.before if change.before and self._sees(change.before) else None
        after = change.after if change.after and self._sees(change.after) else None
        if after:
            return {"type": "MODIFIED" if before else "ADDED", "object": after}
        if before:
            metadata = {**before["metadata"], "resourceVersion": str(change.revision)}
            return {"type": "DELETED", "object": {**before, "metadata": metadata}}
        return None

    def _sees(self, value: Object) -> bool:
        return self._namespace in (None, value["metadata"].get("namespace", "")) and self._matches(value)
