"""What every command starts from: the configuration, and how it prints."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import typer

from slipway_admin.configuration import Configuration
from slipway_admin.errors import CommandFailed, Exit
from slipway_admin.output import Format
from slipway_chassis.topology import BusNames
from slipway_contracts.resync import SERVICES

T = TypeVar("T")

Form = Annotated[Format, typer.Option("-f", "--format", help="How to print the result.")]


@dataclass(frozen=True)
class Desk:
    """One call of the command."""

    configuration: Configuration
    regions: tuple[str, ...]

    @property
    def names(self) -> BusNames:
        """The names on the broker."""
        return BusNames(self.configuration.namespace)

    def sources(self) -> list[str]:
        """The services that there are: those of the configuration, else all of the regions given."""
        if self.configuration.services:
            return list(self.configuration.services)
        if not self.regions:
            raise CommandFailed(
                Exit.CANNOT, "Which services? Give --region, or a configuration with `services` (--config)."
            )
        return ["api/global", *(f"{name}/{region}" for region in self.regions for name in SERVICES if name != "api")]

    def letter_queues(self, service: str | None) -> list[str]:
        """The dead-letter queues of the service, or of all."""
        chosen = [source for source in self.sources() if service in (None, source, source.partition("/")[0])]
        if not chosen:
            raise CommandFailed(Exit.CANNOT, f"There is no service {service}; there are: {', '.join(self.sources())}.")
        return [self.names.dead_letter_queue(*source.split("/", 1)) for source in chosen]


def desk_of(context: typer.Context) -> Desk:
    """The desk of this call."""
    desk = context.obj
    assert isinstance(desk, Desk), "the callback before every command makes it"
    return desk


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the command's work to its end."""
    return asyncio.run(work)
