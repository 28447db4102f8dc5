"""The CloudEvents 1.0 envelope that every message on the bus has, and the registry of event types.

An event carries the complete current state of its subject as its source owns it; the type only names what just
changed. Within one source, `sequence` orders the states of one subject; sequences of different sources are never
compared. CloudEvents integers have 32 bits, so the sequence travels as a zero-padded string of 20 digits.
Source of the format: CloudEvents 1.0.2, JSON format, structured mode.
"""

import json
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from slipway_contracts.values import Instant, Value

SEQUENCE_DIGITS = 20
Sequence = Annotated[str, StringConstraints(pattern=r"^[0-9]{20}$")]


class Body(Value):
    """The state of one subject, as its source owns it."""


B = TypeVar("B", bound=Body)

EVENT_TYPES: "dict[str, type[Event[Any]]]" = {}
"""Every known event class by its CloudEvents type."""


class InvalidEvent(ValueError):
    """The message breaks its contract; it can never be handled and belongs into the dead letters."""


class UnknownEventType(ValueError):
    """The message is a well-formed CloudEvent of a type that this release does not know."""


class Event(BaseModel, Generic[B]):
    """One message on the bus. Concrete events subclass it with their name, noun and owner."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    TYPE: ClassVar[str] = ""
    OWNERS: ClassVar[tuple[str, ...]] = ()
    ROUTING: ClassVar[str] = ""
    ENDS: ClassVar[bool] = False

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(description="UUIDv7; unique for each message")
    type: str
    source: str = Field(description="<service>/<region>", examples=["provisioner/tokyo"])
    subject: str = Field(examples=["clusters/0199/nodes/0198"])
    time: Instant
    datacontenttype: Literal["application/json"] = "application/json"
    region: str
    sequence: Sequence
    correlationid: str | None = Field(default=None, description="The user's request that started this")
    traceparent: str | None = Field(default=None, description="W3C trace context")
    data: B

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Register a concrete event: `class X(Event[XBody], noun="node", verb="created", owner="provisioner")`."""
        noun, verb = kwargs.get("noun"), kwargs.get("verb")
        if noun is None or verb is None:
            return
        version = kwargs.get("version", 1)
        cls.TYPE = f"slipway.{noun}.{verb}.v{version}"
        cls.ROUTING = f"{noun}.{verb}.v{version}"
        owner = kwargs["owner"]
        cls.OWNERS = (owner,) if isinstance(owner, str) else tuple(owner)
        cls.ENDS = bool(kwargs.get("ends", False))
        if cls.TYPE in EVENT_TYPES and EVENT_TYPES[cls.TYPE].__qualname__ != cls.__qualname__:
            raise TypeError(f"two event classes claim the type {cls.TYPE}")
        EVENT_TYPES[cls.TYPE] = cls

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__()

    @property
    def routing_key(self) -> str:
        """`<noun>.<past-verb>.v<N>.<region>`."""
        return f"{self.ROUTING}.{self.region}"

    @property
    def order(self) -> int:
        """The sequence as a number, comparable within (source, subject) only."""
        return int(self.sequence)

    def to_json(self) -> bytes:
        """The structured-mode JSON document; absent extensions are left out."""
        return self.model_dump_json(exclude_none=True).encode()


def source_of(service: str, region: str) -> str:
    """The CloudEvents source of a service in a region; the global api has the region `global`."""
    return f"{service}/{region}"


def sequence_text(order: int) -> str:
    """The wire form of a sequence number."""
    return f"{order:0{SEQUENCE_DIGITS}d}"


def parse_event(message: bytes) -> Event[Any]:
    """Read a message from the bus.

    Raises InvalidEvent with the field and the cause when it breaks its contract, UnknownEventType when its type
    is not one of ours (a newer release's, or a foreign one).
    """
    try:
        document = json.loads(message)
    except ValueError as error:
        raise InvalidEvent(f"the message is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidEvent("the message is not a JSON object")
    return event_of(document)


def event_of(document: dict[str, Any]) -> Event[Any]:
    """As parse_event, from the decoded document."""
    kind = document.get("type")
    if not isinstance(kind, str):
        raise InvalidEvent("type: the CloudEvents attribute is missing")
    event_class = EVENT_TYPES.get(kind)
    if event_class is None:
        raise UnknownEventType(f"no event of type {kind} is known here")
    try:
        event = event_class.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidEvent(f"{kind}: {where}: {first['msg']}") from error
    if event.source.partition("/")[0] not in event_class.OWNERS:
        raise InvalidEvent(f"{kind}: source: {event.source} does not own this event")
    return event
