"""Validated tokens, remembered for a while: never longer than they live, never in clear."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from slipway_api.domain.people import Caller
from slipway_api.domain.problems import FieldProblem, Problem
from slipway_api.ports import Identity
from slipway_chassis.clock import Clock
from slipway_chassis.regions import Region, Regions

REMEMBERED = 10_000
LONGEST = timedelta(minutes=5)


@dataclass(frozen=True)
class _Remembered:
    caller: Caller
    until: datetime


class Gatekeeper:
    """Says who a token belongs to; asks Keystone only when it has not done so lately."""

    def __init__(self, identity: Identity, regions: Regions, clock: Clock, cached_for: timedelta) -> None:
        self._identity = identity
        self._regions = regions
        self._clock = clock
        self._cached_for = min(cached_for, LONGEST)
        self._known: OrderedDict[str, _Remembered] = OrderedDict()

    async def caller(self, token: str | None, region_name: str | None) -> Caller:
        """The person who holds the token; `region_name` chooses the Keystone, the first region's when absent.

        Problem token_missing, token_invalid, token_expired, unknown_region, or what Identity.validate raises.
        """
        if not token:
            raise Problem("token_missing", "Send a Keystone token in X-Auth-Token ('openstack token issue' gives one).")
        region = self._region(region_name)
        key = hashlib.sha256(f"{region.name}\0{token}".encode()).hexdigest()
        now = self._clock.now()
        known = self._known.get(key)
        if known is None or known.until <= now:
            self._known.pop(key, None)
            known = self._remember(key, await self._identity.validate(region, token), now)
        if known.caller.expires_at <= now:
            raise Problem(
                "token_expired", f"The token expired at {known.caller.expires_at:%Y-%m-%d %H:%M:%S} UTC; get a new one."
            )
        return known.caller

    async def still_holds(self, caller: Caller, region_name: str | None) -> bool:
        """Whether the caller's token counts as it did: for streams, which outlive the look that opened them.

        A Keystone that is away ends nothing before the token's own end.
        """
        if caller.expires_at <= self._clock.now():
            return False
        try:
            await self.caller(caller.token, region_name)
        except Problem as problem:
            return problem.code == "identity_unavailable"
        return True

    def forget_all(self) -> None:
        """Ask Keystone again about every token."""
        self._known.clear()

    def _region(self, name: str | None) -> Region:
        if name is None:
            return self._regions.regions[0]
        try:
            return self._regions.named(name)
        except LookupError as error:
            known = ", ".join(region.name for region in self._regions.regions)
            message = f"there is no region {name[:80]!r}"
            problem = FieldProblem("unknown_region", "Slipway-Region", message, f"Choose among: {known}.")
            raise Problem("unknown_region", f"Slipway-Region: {message}", (problem,)) from error

    def _remember(self, key: str, caller: Caller, now: datetime) -> _Remembered:
        known = _Remembered(caller, min(caller.expires_at, now + self._cached_for))
        self._known[key] = known
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known
