"""Which process dies at which crash point."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from slipway_chassis import crash
from slipway_simulation.processes import CURRENT

BACK_AFTER = (0.5, 3.0, 10.0, 70.0)
"""Seconds until a killed process starts again; the longest is longer than a lease."""


@dataclass
class Killer:
    """Armed as the hook of the chassis' crash points."""

    random: Random
    chance: float = 0.0
    """How often a process dies at any point it passes."""
    targets: frozenset[tuple[str, int]] = frozenset()
    """Points, as `<service>/<point>`, and at which of their passages."""
    struck: set[tuple[str, int]] = field(default_factory=set)
    passed: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    back_after: tuple[float, ...] = BACK_AFTER

    def passing(self, point: str) -> None:
        """The present process passes a point; it may be its last."""
        process = CURRENT.get()
        if process is None or not process.up:
            return
        name = f"{process.name}/{point}"
        self.passed[name] += 1
        passage = (name, self.passed[name])
        if passage in self.targets or self.random.random() < self.chance:
            self.struck.add(passage)
            self.kills += 1
            process.kill(point, self.random.choice(self.back_after))
            raise crash.Crashed(point)
