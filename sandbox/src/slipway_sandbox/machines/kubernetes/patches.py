"""The patch types besides server-side apply: JSON merge patch, strategic merge patch, JSON patch (RFC 7386, 6902)."""

from typing import Any

from slipway_sandbox.machines.kubernetes.statuses import bad_request, invalid

Object = dict[str, Any]

_KEYS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "ephemeralContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "conditions": ("type",),
    "addresses": ("type",),
    "imagePullSecrets": ("name",),
    "secrets": ("name",),
    "hostAliases": ("ip",),
    "ownerReferences": ("uid",),
}
SETS = ("finalizers",)


def merge_key(field: str, items: list[Any]) -> tuple[str, ...] | None:
    """The keys by which a list of this field name merges; None for a list that is replaced as a whole."""
    keys: tuple[str, ...] | None = _KEYS.get(field)
    if field == "ports" and items:
        keys = ("containerPort", "protocol") if "containerPort" in items[0] else ("port", "protocol")
    if not keys or not all(isinstance(item, dict) and keys[0] in item for item in items):
        return None
    return keys


def key_of(item: Object, keys: tuple[str, ...]) -> tuple[Any, ...]:
    """An item's identity in its list."""
    return tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys)


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def strategic_merge(target: Any, patch: Any, field: str = "") -> Any:
    """Kubernetes' strategic merge patch, with its `$patch`, `$retainKeys` and `$deleteFromPrimitiveList` directives."""
    if isinstance(patch, list):
        return _strategic_list(target if isinstance(target, list) else [], patch, field)
    if not isinstance(patch, dict):
        return patch
    if patch.get("$patch") == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    merged = dict(target) if isinstance(target, dict) else {}
    if "$retainKeys" in patch:
        merged = {key: value for key, value in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            merged[name] = [item for item in merged.get(name, []) if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge(merged.get(key), value, key)
    return merged


def _strategic_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in SETS:
        return target + [item for item in patch if item not in target]
    plain = [item for item in patch if not (isinstance(item, dict) and item.get("$patch") == "replace")]
    keys = merge_key(field, plain)
    if keys is None or len(plain) != len(patch):
        return plain
    merged = {key_of(item, keys): item for item in target}
    for item in plain:
        key = key_of(item, keys)
        if item.get("$patch") == "delete":
            merged.pop(key, None)
        else:
            merged[key] = strategic_merge(merged.get(key), item)
    return list(merged.values())


def json_patch(target: Object, operations: Any) -> Object:
    """RFC 6902: add, remove, replace and test. Raises Refused for what cannot be applied."""
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    holder: Object = {"": target}
    for operation in operations:
        path = operation.get("path", "")
        parts = ["", *[part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]]
        holder = _json_patch_step(holder, parts, operation)
    result: Object = holder[""]
    return result


def _json_patch_step(container: Any, parts: list[str], operation: Object) -> Any:
    """A copy of the container with the operation carried out below it."""
    head, rest = parts[0], parts[1:]
    copied: Any = list(container) if isinstance(container, list) else dict(container)
    index: Any = head
    if isinstance(copied, list):
        index = len(copied) if head == "-" else int(head)
    if rest:
        copied[index] = _json_patch_step(_present(copied, index, operation), rest, operation)
        return copied
    verb = operation.get("op")
    if verb == "add" and isinstance(copied, list):
        copied.insert(index, operation["value"])
    elif verb == "add":
        copied[index] = operation["value"]
    elif verb == "replace":
        _present(copied, index, operation)
        copied[index] = operation["value"]
    elif verb == "remove":
        _present(copied, index, operation)
        del copied[index]
    elif verb == "test":
        if _present(copied, index, operation) != operation.get("value"):
            raise invalid("patch", operation["path"], "test", "the value is another")
    else:
        raise bad_request(f'error decoding patch: unknown operation "{verb}"')
    return copied


def _present(container: Any, index: Any, operation: Object) -> Any:
    try:
        return container[index]
    except (KeyError, IndexError, TypeError) as missing:
        raise invalid("patch", operation["path"], str(operation.get("op")), "the path does not exist") from missing
