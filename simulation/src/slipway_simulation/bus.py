"""The bus as it may behave at its worst: messages come twice, late, in any order, long after, or never.

A message that a process did not acknowledge because it died comes again. While the broker is away nothing is
confirmed and nothing delivered.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway_chassis.inbox import Disposition
from slipway_chassis.outbox import Outgoing
from slipway_chassis.topology import BusNames
from slipway_contracts.envelope import Event, parse_event
from slipway_contracts.resync import ClusterFactsAnnounced, ResyncRequested
from slipway_simulation.ground import Ground
from slipway_simulation.processes import ServiceProcess, Unreachable

_REMEMBERED = 400


@dataclass
class Manners:
    """How the bus behaves: probabilities per message and receiver; all zero is a bus in good order."""

    lost: float = 0.0
    twice: float = 0.0
    late: float = 0.0
    late_by: float = 60.0
    """Seconds at most that a late message is delayed."""
    stale: float = 0.0
    """How often an old message comes again with a new one."""
    unconfirmed: float = 0.0
    """A batch is taken, and its confirmation lost."""


CALM = Manners()


@dataclass
class _Link:
    """One process and what waits for it."""

    process: ServiceProcess
    bindings: frozenset[tuple[str, str]]
    waiting: list[bytes] = field(default_factory=list)


class ChaosBus:
    """Routes as the real exchange does; every delivery is a step of its own."""

    def __init__(self, ground: Ground) -> None:
        self.manners = CALM
        self.away = False
        self.delivered = 0
        self._random = ground.chance("bus")
        self._journal = ground.journal
        self._links: list[_Link] = []
        self._old: list[tuple[str, bytes]] = []
        self._newest: dict[tuple[str, str, str], int] = {}

    def attach(self, process: ServiceProcess, consumes: Sequence[type[Event[Any]]], region: str) -> None:
        """The queues of one service."""
        bindings = {
            (event.ROUTING, binding.rpartition(".")[2])
            for event in consumes
            for binding in BusNames.bindings(region, event)
        }
        self._links.append(_Link(process, frozenset(bindings)))

    # -- publishing

    async def publish(self, batch: Sequence[Outgoing]) -> list[int]:
        """As slipway_chassis.service.Publish."""
        if self.away:
            return []
        for message in batch:
            self._route(message.routing_key, message.document)
        if self._happens(self.manners.unconfirmed):
            self._journal.say("Bus loses a confirmation", messages=len(batch))
            return []
        return [message.row_id for message in batch]

    def _route(self, routing_key: str, document: bytes) -> None:
        noun, _, region = routing_key.rpartition(".")
        self._old = [*self._old[-_REMEMBERED:], (routing_key, document)]
        for link in self._bound(noun, region):
            self._send(link, document)
        if self._happens(self.manners.stale):
            old_key, old = self._random.choice(self._old)
            noun, _, region = old_key.rpartition(".")
            for link in self._bound(noun, region):
                self._later(link, old, self._random.uniform(0, self.manners.late_by))

    def _bound(self, noun: str, region: str) -> list[_Link]:
        return [link for link in self._links if {(noun, region), (noun, "*")} & link.bindings]

    def _send(self, link: _Link, document: bytes) -> None:
        if self._happens(self.manners.lost):
            self._journal.say("Bus loses a message", to=link.process.name, type=parse_event(document).type)
            return
        for _ in range(2 if self._happens(self.manners.twice) else 1):
            late = self._random.uniform(1, self.manners.late_by) if self._happens(self.manners.late) else 0.0
            self._later(link, document, self._random.uniform(0.001, 0.03) + late)

    def _later(self, link: _Link, document: bytes, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay, self._deliver, link, document)

    # -- delivering

    def connected(self, process: ServiceProcess) -> None:
        """The process consumes again: what waited for it comes."""
        for link in self._links:
            if link.process is process:
                self._flush(link)

    def forgotten(self, name: str) -> None:
        """This process' database went back: of the others it has to know no more than what it is told from now."""
        for key in [each for each in self._newest if each[0] == name]:
            del self._newest[key]

    def go_away(self) -> None:
        """The broker stops."""
        self._journal.say("RabbitMQ is away")
        self.away = True

    def come_back(self) -> None:
        """The broker is there again, with all that it had."""
        if self.away:
            self._journal.say("RabbitMQ is back")
        self.away = False
        for link in self._links:
            self._flush(link)

    def _flush(self, link: _Link) -> None:
        waiting, link.waiting = link.waiting, []
        for document in waiting:
            self._later(link, document, self._random.uniform(0.001, 0.03))

    def _deliver(self, link: _Link, document: bytes) -> None:
        if self.away or not link.process.up:
            link.waiting.append(document)
            return
        asyncio.get_running_loop().create_task(self._hand_over(link, document))

    async def _hand_over(self, link: _Link, document: bytes) -> None:
        event = parse_event(document)
        try:
            receipt, changed = await link.process.receive(document)
        except Unreachable:
            self._deliver_again(link, document)
            return
        except Exception as error:  # noqa: BLE001  whatever it is, a handler must not fail
            self._journal.violated(f"{link.process.name} failed to handle {event.type}: {error!r}")
            return
        self.delivered += 1
        if receipt.disposition in (Disposition.INVALID, Disposition.UNKNOWN):
            self._journal.violated(f"{link.process.name} cannot read a message of ours: {receipt.cause}")
        self._check_stale(link, event, changed=changed)

    def _deliver_again(self, link: _Link, document: bytes) -> None:
        """It was not acknowledged."""
        if link.process.up:
            self._later(link, document, 0.01)
        else:
            link.waiting.append(document)

    def _check_stale(self, link: _Link, event: Event[Any], *, changed: bool) -> None:
        """I9: a fact that is not newer than what the process has committed already changes no row at all."""
        if isinstance(event, ResyncRequested | ClusterFactsAnnounced):
            return
        key = (link.process.name, event.source, event.subject)
        if event.order > self._newest.get(key, -1):
            self._newest[key] = event.order
            return
        if changed:
            self._journal.violated(
                f"I9: {link.process.name} changed something after a stale {event.type} of {event.subject}"
            )

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability
