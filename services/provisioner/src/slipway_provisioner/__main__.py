"""`python -m slipway_provisioner [run|migrate]`."""

import sys

from slipway_chassis.cli import main
from slipway_provisioner.app import NAME, build_app
from slipway_provisioner.settings import Settings


def run() -> int:
    """The command `slipway-provisioner`."""
    return main(NAME, Settings, build_app)


if __name__ == "__main__":
    sys.exit(run())
