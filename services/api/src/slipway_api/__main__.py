"""`python -m slipway_api [run|migrate]`"""

import sys

from slipway_api.app import build_app
from slipway_api.settings import Settings
from slipway_chassis.cli import main


def run() -> int:
    """The command `slipway-api`."""
    return main("api", Settings, build_app)


if __name__ == "__main__":
    sys.exit(run())
