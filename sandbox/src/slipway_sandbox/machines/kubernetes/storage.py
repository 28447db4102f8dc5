"""What an emulated etcd keeps of a cluster: its objects, and the changes that watches replay."""

import itertools
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

_KEPT_CHANGES = 10_000


class Compacted(Exception):
    """The changes since that revision are no longer kept: list again."""


@dataclass(frozen=True)
class Change:
    """One write. `before` is None for a creation, `after` for a deletion (then `before` carries the last state)."""

    revision: int
    resource: str
    before: Object | None
    after: Object | None


class Storage:
    """Objects by resource, namespace and name. What is handed out is never changed in place, also not by callers.

    `identity` makes uids deterministic and distinct between clusters.
    """

    def __init__(self, identity: str = "sandbox") -> None:
        self.identity = identity
        self.revision = 1
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._changes: deque[Change] = deque(maxlen=_KEPT_CHANGES)
        self._listeners: set[Callable[[], None]] = set()

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """The object, or None."""
        return self._objects.get(resource, {}).get((namespace, name))

    def objects(self, resource: str, namespace: str | None = None) -> list[Object]:
        """All objects of a resource (of one namespace), ordered by namespace and name."""
        kept = self._objects.get(resource, {})
        return [kept[key] for key in sorted(kept) if namespace is None or key[0] == namespace]

    def objects_at(self, resource: str, namespace: str | None, revision: int) -> list[Object]:
        """As `objects`, but as they were at a revision. Raises Compacted."""
        present = {_key_of(value): value for value in self.objects(resource)}
        for change in reversed(self.changes_since(revision, resource)):
            value = change.before or change.after
            assert value is not None, "a change has a side"
            if change.before is None:
                present.pop(_key_of(value))
            else:
                present[_key_of(value)] = change.before
        return [present[key] for key in sorted(present) if namespace is None or key[0] == namespace]

    def resources(self) -> tuple[str, ...]:
        """The resources that ever held an object."""
        return tuple(self._objects)

    def put(self, resource: str, value: Object) -> Object:
        """Stores the object under its metadata with the next revision as its resourceVersion, and returns it so."""
        metadata = value["metadata"]
        key = _key_of(value)
        before = self._objects.setdefault(resource, {}).get(key)
        self.revision += 1
        stored = {**value, "metadata": {**metadata, "resourceVersion": str(self.revision)}}
        self._objects[resource][key] = stored
        self._record(Change(self.revision, resource, before, stored))
        return stored

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """Removes the object, which must exist."""
        last = self._objects[resource].pop((namespace, name))
        self.revision += 1
        self._record(Change(self.revision, resource, last, None))

    def changes_since(self, revision: int, resource: str) -> list[Change]:
        """Every write to a resource after a revision. Raises Compacted."""
        oldest = self._changes[0].revision if self._changes else self.revision + 1
        if revision + 1 < oldest:
            raise Compacted
        newer = itertools.islice(self._changes, revision + 1 - oldest, None)
        return [change for change in newer if change.resource == resource]

    def compact(self) -> None:
        """Forgets all changes: what is watched from now on must begin at the present revision."""
        self._changes.clear()

    def next_uid(self) -> str:
        """A uid for the next object to be stored."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.identity}/{self.revision + 1}"))

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener after each write until the returned function is called."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _record(self, change: Change) -> None:
        self._changes.append(change)
        for listener in tuple(self._listeners):
            listener()


def _key_of(value: Object) -> tuple[str, str]:
    return value["metadata"].get("namespace", ""), value["metadata"]["name"]
