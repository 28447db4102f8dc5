"""`python -m slipway_healer [run|migrate]`."""

import sys

from slipway_chassis.cli import main
from slipway_healer.app import build_app
from slipway_healer.settings import Settings


def run() -> None:
    """The command slipway-healer."""
    sys.exit(main("healer", Settings, build_app))


if __name__ == "__main__":
    run()
