"""`python -m slipway_monitor [run|migrate]`."""

import sys

from slipway_chassis.cli import main
from slipway_monitor.app import NAME, build_app
from slipway_monitor.settings import Settings


def run() -> int:
    """The command `slipway-monitor`."""
    return main(NAME, Settings, build_app)


if __name__ == "__main__":
    sys.exit(run())
