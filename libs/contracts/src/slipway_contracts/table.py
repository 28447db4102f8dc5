"""The readable document of all events, generated: `python -m slipway_contracts.table > docs/events.md`."""

import sys
from collections.abc import Iterator
from typing import Any

from slipway_contracts.asyncapi import events_in_order, meaning_of, schemas
from slipway_contracts.envelope import EVENT_TYPES

_HEAD = """# Events

Generated from `libs/contracts` by `make docs`; do not edit. Every message is a CloudEvents 1.0 JSON document on the
topic exchange `slipway.events`, routing key `<noun>.<past-verb>.v<N>.<region>`. Its `data` is the complete state of its
`subject` as its source owns it; the type only names what just changed. Of one source and subject, the greater
`sequence` is the newer state. The JSON Schema of each event is in `libs/contracts/schemas/`, all of them are in
[asyncapi.json](asyncapi.json) (AsyncAPI 3); how to listen is in [bus.md](bus.md).

| event | routing key | from | body | when |
|---|---|---|---|---|
"""

_BODIES = """
## What they say

The fields of each body and of its parts. *Optional* fields may be absent; new ones may come at any time.
"""

Schema = dict[str, Any]


def table() -> str:
    """The document, in Markdown."""
    rows = []
    for event in events_in_order():
        body = event.model_fields["data"].annotation
        name = body.__name__ if body is not None else ""
        owners = ", ".join(event.OWNERS)
        link = f"[`{name}`](#{name.lower()})"
        rows.append(f"| `{event.__name__}` | `{event.ROUTING}.<region>` | {owners} | {link} | {meaning_of(event)} |\n")
    return _HEAD + "".join(rows) + _BODIES + "".join(_sections())


def _sections() -> Iterator[str]:
    events = {event.__name__ for event in EVENT_TYPES.values()}
    for name, schema in schemas().items():
        if name in events:
            continue
        yield f"\n### {name}\n\n"
        if "description" in schema:
            yield " ".join(schema["description"].split()) + "\n\n"
        if "enum" in schema:
            yield "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n"
        elif "properties" in schema:
            yield "| field | type | |\n|---|---|---|\n"
            yield from (_row(field, each) for field, each in schema["properties"].items())


def _row(field: str, schema: Schema) -> str:
    meaning = schema.get("description", "")
    said = meaning if "default" not in schema else f"Optional. {meaning}".strip()
    return f"| `{field}` | {_type(schema)} | {said.replace('|', ' or ')} |\n"


def _type(schema: Schema) -> str:
    """The type in a few words; parts are links to their own sections."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"map to {_type(values)}" if isinstance(values, dict) else "object"
    return {"date-time": "time", "duration": "duration"}.get(str(schema.get("format")), kind)


if __name__ == "__main__":
    sys.stdout.write(table())
