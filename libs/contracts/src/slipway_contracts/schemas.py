"""JSON Schema snapshots of all events, and what counts as an incompatible change.

Contracts only grow: a new optional field is compatible; anything else is a new version of the event beside the old.

    python -m slipway_contracts.schemas write FOLDER     after a compatible change; writes nothing after another one
    python -m slipway_contracts.schemas check FOLDER     exit code 1 names what differs

An event that was never released may be thrown away with its snapshot: remove the file before `write`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway_contracts.catalogue import EVENT_TYPES

Schema = dict[str, Any]

_CONSTRAINTS = (
    "type",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "maxLength",
    "minLength",
    "maxItems",
    "minItems",
    "maxProperties",
    "minProperties",
    "format",
)


def current_schemas() -> dict[str, Schema]:
    """The schema of every event, by its type."""
    return {name: event.model_json_schema(mode="serialization") for name, event in sorted(EVENT_TYPES.items())}


def read_schemas(folder: Path) -> dict[str, Schema]:
    """The committed snapshots."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def write_schemas(folder: Path) -> None:
    """Replace the committed snapshots by what the code says now."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for name, schema in current_schemas().items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=1, sort_keys=True) + "\n")


def incompatibilities(old: dict[str, Schema], new: dict[str, Schema]) -> list[str]:
    """What a reader or writer of the old contracts would trip over; one sentence each."""
    found = []
    for name, schema in old.items():
        if name not in new:
            found.append(f"{name}: the event was removed")
            continue
        found.extend(f"{name}: {problem}" for problem in _compare(schema, new[name], schema, new[name], "", set()))
    return found


def _compare(old: Any, new: Any, old_root: Schema, new_root: Schema, where: str, seen: set[str]) -> Iterator[str]:
    old, new = _resolve(old, old_root), _resolve(new, new_root)
    here = where or "body"
    for constraint in _CONSTRAINTS:
        if old.get(constraint) != new.get(constraint):
            yield f"{here}: {constraint} was {old.get(constraint)!r}, is {new.get(constraint)!r}"
    gone = [value for value in old.get("enum", []) if value not in new.get("enum", [])]
    if gone:
        yield f"{here}: values removed: {gone}"
    yield from _compare_fields(old, new, old_root, new_root, where, seen)
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from _compare(old[key], new[key], old_root, new_root, f"{where}[]", seen)
    yield from _compare_choices(old, new, old_root, new_root, where, seen)


def _compare_fields(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, where: str, seen: set[str]
) -> Iterator[str]:
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    needed_before, needed_now = set(old.get("required", [])), set(new.get("required", []))
    for field, schema in old_fields.items():
        path = f"{where}.{field}".lstrip(".")
        if field not in new_fields:
            yield f"{path}: the field was removed"
        elif path not in seen:
            seen.add(path)
            yield from _compare(schema, new_fields[field], old_root, new_root, path, seen)
    for field in sorted(needed_now - needed_before):
        # in serialization mode fields with defaults are always written: only one without a default is required anew
        if field not in old_fields and "default" not in new_fields[field]:
            yield f"{where}.{field}: a new field must be optional".lstrip(".")
        elif field in old_fields:
            yield f"{where}.{field}: the field is required now".lstrip(".")
    for field in sorted(needed_before - needed_now):
        yield f"{where}.{field}: the field is not always there any more".lstrip(".")


def _compare_choices(
    old: Schema, new: Schema, old_root: Schema, new_root: Schema, where: str, seen: set[str]
) -> Iterator[str]:
    before, now = old.get("anyOf", []), new.get("anyOf", [])
    if len(now) < len(before):
        yield f"{where}: an alternative was removed"
    for one, other in zip(before, now, strict=False):
        yield from _compare(one, other, old_root, new_root, where, seen)


def _resolve(schema: Any, root: Schema) -> Schema:
    resolved: Schema = schema
    while "$ref" in resolved:
        resolved = root["$defs"][resolved["$ref"].rpartition("/")[2]]
    return resolved


def main(arguments: list[str]) -> int:
    """Write or check the snapshots; exit code 1 after an incompatible change."""
    action, folder = arguments[0], Path(arguments[1])
    old, new = read_schemas(folder), current_schemas()
    problems = incompatibilities(old, new)
    if action == "write" and not problems:
        write_schemas(folder)
    elif not problems and old != json.loads(json.dumps(new)):
        problems = ["the snapshots are older than the code: run `make schemas` and commit them"]
    for problem in problems:
        sys.stderr.write(problem + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
