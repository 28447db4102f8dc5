"""What every part of a world stands on: one clock, one journal, and chance that the seed decides."""

from dataclasses import dataclass, field
from random import Random

from slipway_simulation.journal import Journal
from slipway_simulation.virtual_time import LoopClock


@dataclass(frozen=True)
class Ground:
    """Shared by all parts of one world."""

    seed: int
    clock: LoopClock
    journal: Journal
    _sources: dict[str, Random] = field(default_factory=dict)

    def chance(self, purpose: str) -> Random:
        """A source of its own for each purpose, so that what one part draws changes nothing for the others."""
        return self._sources.setdefault(purpose, Random(f"{self.seed}/{purpose}"))

    def branch(self, seed: int) -> None:
        """From here on this seed decides, but for what services and machines have drawn their own sources from."""
        for purpose, source in self._sources.items():
            source.seed(f"{seed}/{purpose}")
