"""When a node was last heard, from its lease: by its own clock where that is plausible, else by ours.

A node whose clock is an hour slow renews its lease with times that look dead; what proves life is that the time
changes from look to look (Kubernetes' own node controller reckons the same way).
"""

from collections.abc import Mapping
from datetime import datetime

from slipway_monitor.domain.model import Beat


def listen(
    before: Mapping[str, Beat], renewals: Mapping[str, datetime], looked_before: datetime | None, now: datetime
) -> dict[str, Beat]:
    """The beats of this look, given those of the look before (none at the first)."""
    return {name: _beat(before.get(name), renewed, looked_before, now) for name, renewed in renewals.items()}


def _beat(known: Beat | None, renewed: datetime, looked_before: datetime | None, now: datetime) -> Beat:
    if known is None or looked_before is None:
        return Beat(renewed, min(renewed, now))
    if known.renewed == renewed:
        return known
    plausible = looked_before <= renewed <= now
    return Beat(renewed, renewed if plausible else now)
