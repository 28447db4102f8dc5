"""The AsyncAPI 3 document of the bus, generated: `python -m slipway_contracts.asyncapi > docs/asyncapi.json`."""

import inspect
import json
import sys
from typing import Any

from pydantic.json_schema import models_json_schema

from slipway_contracts.catalogue import EVENT_TYPES, MODULES
from slipway_contracts.envelope import Event

Document = dict[str, Any]

_EXCHANGE = {"name": "slipway.events", "type": "topic", "durable": True, "autoDelete": False, "vhost": "/"}
_HOW = """Every message is a CloudEvents 1.0 JSON document. Its `data` is the complete state of its `subject` as its
source owns it; the type only names what just changed. Of one source and subject, the greater `sequence` is the newer
state; messages may come twice and in any order. Every ten minutes each source repeats all that it has to say of a
cluster (ClusterFactsAnnounced)."""


def events_in_order() -> list[type[Event[Any]]]:
    """All events, by owner as the catalogue has them."""
    order = {module.__name__: number for number, module in enumerate(MODULES)}
    return sorted(EVENT_TYPES.values(), key=lambda event: order[event.__module__])


def meaning_of(event: type[Event[Any]]) -> str:
    """What the event says, in one line."""
    text = " ".join((inspect.getdoc(event) or "").split())
    return f"{text} Ends the subject." if event.ENDS else text


def schemas() -> Document:
    """The JSON Schemas of all events and their parts, by name, referring to each other as AsyncAPI wants it."""
    models: list[tuple[Any, Any]] = [(event, "serialization") for event in EVENT_TYPES.values()]
    _, document = models_json_schema(models, ref_template="#/components/schemas/{model}")
    found: Document = document["$defs"]
    return dict(sorted(found.items()))


def document() -> Document:
    """The whole document."""
    events = events_in_order()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Slipway's events",
            "version": "1",
            "description": " ".join(_HOW.split()),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/cloudevents+json",
        "servers": {
            "broker": {
                "host": "rabbitmq.example:5671",
                "protocol": "amqps",
                "protocolVersion": "0.9.1",
                "description": "The operator's RabbitMQ; each reader has a user of its own.",
                "security": [{"type": "userPassword"}],
            }
        },
        "channels": {event.ROUTING: _channel(event) for event in events},
        "operations": {
            f"{owner}.{event.ROUTING}": _said_by(owner, event) for event in events for owner in event.OWNERS
        },
        "components": {"messages": {event.__name__: _message(event) for event in events}, "schemas": schemas()},
    }


def _channel(event: type[Event[Any]]) -> Document:
    return {
        "address": f"{event.ROUTING}.{{region}}",
        "description": "Routing key on the topic exchange slipway.events.",
        "parameters": {"region": {"description": "The region; `*` in a binding means all."}},
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
        "bindings": {"amqp": {"is": "routingKey", "exchange": _EXCHANGE, "bindingVersion": "0.3.0"}},
    }


def _said_by(owner: str, event: type[Event[Any]]) -> Document:
    channel = f"#/channels/{event.ROUTING}"
    return {
        "action": "send",
        "summary": f"{owner}: {meaning_of(event)}",
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{event.__name__}"}],
        "tags": [{"name": owner}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": "0.3.0"}},
    }


def _message(event: type[Event[Any]]) -> Document:
    return {
        "name": event.TYPE,
        "title": event.__name__,
        "summary": meaning_of(event),
        "contentType": "application/cloudevents+json",
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=1) + "\n")
