"""What there is on the broker: exchanges, queues with arguments and bindings, users, and what each user may do there.

Pure: the bus declares by it, the definitions file of the broker is written by it, an operator's checks compare with it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from slipway_contracts.catalogue import EVENT_TYPES
from slipway_contracts.envelope import Event, source_of
from slipway_contracts.resync import OPERATOR, ResyncRequested

DELIVERY_LIMIT = 100
"""Counts prefetched messages of a crashed consumer too (RabbitMQ), so it must be far above the prefetch."""
LOOKS_AT_LETTERS = 1_000_000
"""So often dead letters may be looked at: each look is a delivery, and RabbitMQ 4 drops a message after 20."""
GLOBAL_REGION = "global"

Consumes = Sequence[type[Event[Any]]]


class BusNames:
    """The names of exchanges, queues and users; with another namespace several platforms share a broker."""

    def __init__(self, namespace: str = "slipway") -> None:
        self.events = f"{namespace}.events"
        self.dead_letters = f"{namespace}.dead-letters"
        self.prefix = "" if namespace == "slipway" else f"{namespace}."

    def queue(self, service: str, region: str, noun: str) -> str:
        """The queue of one noun's events (node, cluster, pool ...) for one service."""
        return f"{self.prefix}{service}.{region}.{noun}"

    def dead_letter_queue(self, service: str, region: str) -> str:
        """The one dead-letter queue of a service."""
        return f"{self.prefix}{service}.{region}.dead-letters"

    def user(self, service: str, region: str) -> str:
        """The broker's user that speaks for this service."""
        return f"{self.prefix}{service}.{region}"

    @property
    def operator(self) -> str:
        """The broker's user of the operator's tools: it may repeat what others said."""
        return f"{self.prefix}{OPERATOR}"

    def source_of_user(self, user: str) -> str:
        """The CloudEvents source that this user speaks for; no service's source when it is not one of ours."""
        service, _, region = user.removeprefix(self.prefix).partition(".")
        return source_of(service, region)

    @staticmethod
    def bindings(region: str, event_class: type[Event[Any]]) -> tuple[str, ...]:
        """A regional service hears its own region and what is said to all; the global api hears everything."""
        if region == GLOBAL_REGION:
            return (f"{event_class.ROUTING}.*",)
        return (f"{event_class.ROUTING}.{region}", f"{event_class.ROUTING}.{GLOBAL_REGION}")


@dataclass(frozen=True)
class QueuePlan:
    """One queue of a service, as it must be."""

    name: str
    noun: str
    keys: tuple[str, ...]
    """What it is bound to on the exchange of events."""
    arguments: dict[str, Any] = field(default_factory=dict)


def queues_of(names: BusNames, service: str, region: str, consumes: Consumes) -> list[QueuePlan]:
    """The queues that a service consumes from: a quorum queue for each noun."""
    arguments = {
        "x-dead-letter-exchange": names.dead_letters,
        "x-dead-letter-routing-key": f"{service}.{region}",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": DELIVERY_LIMIT,
    }
    return [
        QueuePlan(
            names.queue(service, region, noun),
            noun,
            tuple(key for each in events for key in names.bindings(region, each)),
            arguments,
        )
        for noun, events in by_noun(consumes)
    ]


def by_noun(events: Consumes) -> list[tuple[str, list[type[Event[Any]]]]]:
    """The events grouped by the noun of their routing key, both in order."""

    def noun(event_class: type[Event[Any]]) -> str:
        return event_class.ROUTING.partition(".")[0]

    ordered = sorted(events, key=lambda each: each.ROUTING)
    return [(name, list(group)) for name, group in groupby(ordered, key=noun)]


@dataclass(frozen=True)
class Topics:
    """Which routing keys of a topic exchange a user may write and read, as regular expressions."""

    exchange: str
    write: str
    read: str


@dataclass(frozen=True)
class Access:
    """What a user of the broker may do, as RabbitMQ's regular expressions over the names of queues and exchanges."""

    user: str
    configure: str
    write: str
    read: str
    topics: tuple[Topics, ...]


NOTHING = "^$"


def service_access(names: BusNames, service: str, region: str, consumes: Consumes) -> Access:
    """A service declares and reads only its own queues, says only what it owns, and binds only to what it handles."""
    own = re.escape(names.user(service, region))
    exchanges = f"{re.escape(names.events)}|{re.escape(names.dead_letters)}"
    letters = f"^{re.escape(f'{service}.{region}')}$"
    return Access(
        user=names.user(service, region),
        configure=rf"^{own}\..+$",
        write=rf"^({own}\..+|{exchanges})$",
        read=rf"^({own}\..+|{exchanges})$",
        topics=(
            Topics(names.events, _keys_said(service, region), _keys_heard(region, consumes)),
            Topics(names.dead_letters, letters, letters),
        ),
    )


def operator_access(names: BusNames) -> Access:
    """The operator's tools look at dead letters, put them back into a queue, ask for a resync; they make nothing."""
    return Access(
        user=names.operator,
        configure=NOTHING,
        write=rf"^(amq\.default|{re.escape(names.events)})$",
        read=r"^.+\.dead-letters$",
        topics=(Topics(names.events, rf"^{re.escape(ResyncRequested.ROUTING)}\.[^.]+$", NOTHING),),
    )


def reader_access(names: BusNames, user: str, keys: str = ".*") -> Access:
    """An owner's automation: queues under its own name, any event or those whose routing keys match; says nothing."""
    own = re.escape(user)
    return Access(
        user=user,
        configure=rf"^{own}\..+$",
        write=rf"^{own}\..+$",
        read=rf"^({own}\..+|{re.escape(names.events)})$",
        topics=(Topics(names.events, NOTHING, keys),),
    )


def _keys_said(service: str, region: str) -> str:
    said = sorted(event.ROUTING for event in EVENT_TYPES.values() if service in event.OWNERS)
    where = "[^.]+" if region == GLOBAL_REGION else re.escape(region)
    return rf"^({'|'.join(map(re.escape, said))})\.{where}$"


def _keys_heard(region: str, consumes: Consumes) -> str:
    heard = sorted({event.ROUTING for event in consumes})
    where = r"\*" if region == GLOBAL_REGION else f"({re.escape(region)}|{GLOBAL_REGION})"
    return rf"^({'|'.join(map(re.escape, heard))})\.{where}$"
