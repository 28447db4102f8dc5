"""The two kinds of failure that a reconciler knows; adapters translate everything else into these."""

from datetime import timedelta

from slipway_contracts.values import Mover, Reason


class RetryLater(Exception):
    """The cause will pass: look again after a while. Carries a reason that a user can read."""

    def __init__(self, after: timedelta, code: str, message: str, *, whose_move: Mover = Mover.SLIPWAY) -> None:
        super().__init__(f"{code}: {message}")
        self.after = after
        self.reason = Reason(code=code, message=message, whose_move=whose_move)


class GiveUp(Exception):
    """Trying again will not help; somebody has to change something."""

    def __init__(self, code: str, message: str, *, whose_move: Mover = Mover.USER) -> None:
        super().__init__(f"{code}: {message}")
        self.reason = Reason(code=code, message=message, whose_move=whose_move)


class LeaseLost(Exception):
    """Somebody else holds the work by now; what was decided here must not be committed."""
