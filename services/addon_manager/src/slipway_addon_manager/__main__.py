"""`python -m slipway_addon_manager [run|migrate]`."""

import sys

from slipway_addon_manager.app import build_app
from slipway_addon_manager.settings import Settings
from slipway_chassis.cli import main


def run() -> None:
    """The command slipway-addon-manager."""
    sys.exit(main("addon_manager", Settings, build_app))


if __name__ == "__main__":
    run()
