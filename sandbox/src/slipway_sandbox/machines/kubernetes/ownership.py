"""Who owns which field: `managedFields`, and server-side apply on top of it.

A field is a path of `f:name`, `k:{"name":"x"}` and `v:"x"` elements, as in fieldsV1; a manager owns a set of paths.
"""

import json
from dataclasses import dataclass
from typing import Any

from slipway_sandbox.machines.kubernetes.patches import SETS, key_of, merge_key

Object = dict[str, Any]
Path = tuple[str, ...]

_ITEM = "."
_SERVER_OWNED = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
    "generateName",
)


@dataclass(frozen=True)
class Manager:
    """One entry of managedFields, without its fields."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""


def owned_fields(value: Object) -> dict[Path, Any]:
    """Every leaf of an object that a manager can own, with its value."""
    relevant = {key: item for key, item in value.items() if key not in ("apiVersion", "kind")}
    metadata = {key: item for key, item in (value.get("metadata") or {}).items() if key not in _SERVER_OWNED}
    relevant["metadata"] = metadata
    found: dict[Path, Any] = {}
    for key, item in relevant.items():
        if key != "metadata" or metadata:
            _leaves(item, (f"f:{key}",), key, found)
    return found


def merge_applied(live: Any, applied: Any, field: str = "") -> Any:
    """The live value with what was applied laid over it; lists merge by their keys, nulls are left out."""
    if isinstance(applied, dict):
        merged = dict(live) if isinstance(live, dict) else {}
        for key, item in applied.items():
            if item is not None:
                merged[key] = merge_applied(merged.get(key), item, key)
        return merged
    if not isinstance(applied, list):
        return applied
    existing = live if isinstance(live, list) else []
    if field in SETS:
        return existing + [item for item in applied if item not in existing]
    keys = merge_key(field, applied)
    if keys is None or (merge_key(field, existing) is None and existing):
        return applied
    by_key = {key_of(item, keys): item for item in existing}
    for item in applied:
        by_key[key_of(item, keys)] = merge_applied(by_key.get(key_of(item, keys)), item)
    return list(by_key.values())


def remove_field(value: Object, path: Path) -> Object:
    """A copy without the field; maps and items that it leaves empty go with it."""
    removed = _without(value, path, "")
    return removed if isinstance(removed, dict) else {}


def read_managers(value: Object) -> dict[Manager, set[Path]]:
    """managedFields of an object."""
    managers = {}
    for entry in value["metadata"].get("managedFields") or []:
        manager = Manager(
            entry["manager"], entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
        )
        managers[manager] = _read_fields(entry.get("fieldsV1") or {})
    return managers


def write_managers(previous: Object | None, managers: dict[Manager, set[Path]], now: str) -> list[Object]:
    """managedFields; an entry whose fields are the same as in the previous object keeps its time."""
    times: dict[tuple[Manager, str], str] = {}
    for entry in (previous or {"metadata": {}})["metadata"].get("managedFields") or []:
        manager = Manager(
            entry["manager"], entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
        )
        times[manager, json.dumps(entry["fieldsV1"], sort_keys=True)] = entry["time"]
    written = []
    for manager, paths in managers.items():
        if not paths:
            continue
        fields = _write_fields(paths)
        time = times.get((manager, json.dumps(fields, sort_keys=True)), now)
        entry = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": manager.api_version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        written.append(entry | ({"subresource": manager.subresource} if manager.subresource else {}))
    return written


def after_update(before: Object | None, after: Object, manager: Manager) -> dict[Manager, set[Path]]:
    """Who owns what after an ordinary write: the writer owns all that it changed, and nobody what is gone."""
    old = owned_fields(before) if before else {}
    new = owned_fields(after)
    changed = {path for path, item in new.items() if path not in old or old[path] != item}
    managers = {
        other: {path for path in paths if path in new and path not in changed}
        for other, paths in (read_managers(before) if before else {}).items()
    }
    managers[manager] = managers.get(manager, set()) | changed
    return managers


def conflicts(live: Object, applied: Object, manager: Manager) -> list[tuple[Manager, Path]]:
    """Fields that others own with another value than the one applied."""
    wanted = owned_fields(applied)
    present = owned_fields(live)
    return [
        (other, path)
        for other, paths in read_managers(live).items()
        if other != manager
        for path in sorted(paths)
        if path in wanted and path in present and path[-1] != _ITEM and present[path] != wanted[path]
    ]


def apply(live: Object, applied: Object, manager: Manager) -> tuple[Object, dict[Manager, set[Path]]]:
    """The object after a (forced) apply, and who owns what then: conflicting fields change hands, fields that
    this manager no longer applies are removed unless somebody else owns them."""
    wanted = set(owned_fields(applied))
    lost = {(other, path) for other, path in conflicts(live, applied, manager)}
    managers = {
        other: {path for path in paths if (other, path) not in lost} for other, paths in read_managers(live).items()
    }
    dropped = managers.get(manager, set()) - wanted
    managers[manager] = wanted
    kept = wanted | {path for paths in managers.values() for path in paths}
    # An empty map that was applied is no leaf any more once something is in it: what is below is somebody's.
    kept |= {path[:length] for path in kept for length in range(1, len(path))}
    result: Object = merge_applied(live, applied)
    gone = {path[:-1] if path[-1] == _ITEM else path for path in dropped - kept}
    for path in sorted(gone - kept, key=len):
        result = remove_field(result, path)
    return result, managers


def dotted(path: Path) -> str:
    """A path as the real server writes it in conflicts: .spec.template.spec.containers[name="x"].image."""
    text = ""
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += "[" + ",".join(f"{key}={json.dumps(item)}" for key, item in json.loads(rest).items()) + "]"
        elif kind == "v":
            text += f"[={rest}]"
    return text


def _leaves(value: Any, path: Path, field: str, found: dict[Path, Any]) -> None:
    if value is None:
        return
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _leaves(item, (*path, f"f:{key}"), key, found)
    elif isinstance(value, list) and value and field in SETS:
        for item in value:
            found[*path, f"v:{json.dumps(item)}"] = item
    elif isinstance(value, list) and value and (keys := merge_key(field, value)):
        for item in value:
            element = (*path, _key_element(item, keys))
            found[*element, _ITEM] = True
            _leaves(item, element, "", found)
    else:
        found[path] = value


def _key_element(item: Object, keys: tuple[str, ...]) -> str:
    identity = dict(zip(keys, key_of(item, keys), strict=True))
    return "k:" + json.dumps(identity, sort_keys=True, separators=(",", ":"))


def _without(value: Any, path: Path, field: str) -> Any:
    """None when nothing is left."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict):
        name = head[2:]
        copied = dict(value)
        inner = _without(copied[name], rest, name) if rest and name in copied else None
        if inner is None:
            copied.pop(name, None)
        else:
            copied[name] = inner
        return copied or None
    if isinstance(value, list) and head.startswith("v:"):
        return [item for item in value if json.dumps(item) != head[2:]] or None
    keys = merge_key(field, value) if isinstance(value, list) and value else None
    if keys is None:
        return value
    items = []
    for item in value:
        kept = item
        if _key_element(item, keys) == head:
            kept = _without(item, rest, "") if rest else None
        if kept is not None:
            items.append(kept)
    return items or None


def _read_fields(fields: Object, path: Path = ()) -> set[Path]:
    found: set[Path] = set()
    for element, inner in fields.items():
        if element == _ITEM:
            found.add((*path, _ITEM))
        elif inner:
            found |= _read_fields(inner, (*path, element))
        else:
            found.add((*path, element))
    return found


def _write_fields(paths: set[Path]) -> Object:
    fields: Object = {}
    for path in sorted(paths):
        inner = fields
        for element in path:
            inner = inner.setdefault(element, {})
    return fields
