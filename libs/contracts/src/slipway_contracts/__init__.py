"""Events and value objects that the services of Slipway share: pydantic only, one module per owner."""

from slipway_contracts.envelope import (
    EVENT_TYPES,
    Body,
    Event,
    InvalidEvent,
    UnknownEventType,
    parse_event,
    source_of,
)

__all__ = ["EVENT_TYPES", "Body", "Event", "InvalidEvent", "UnknownEventType", "parse_event", "source_of"]
