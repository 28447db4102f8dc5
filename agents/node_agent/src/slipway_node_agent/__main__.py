"""Runs the agent on this machine: what slipway-agent.service starts."""

from __future__ import annotations

import signal
import sys

from slipway_node_agent import __version__
from slipway_node_agent.config import AgentConfig
from slipway_node_agent.driver import Driver
from slipway_node_agent.real_host import RealHost


def main() -> int:
    """The exit code of the process."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(__version__ + "\n")
        return 0
    host = RealHost()
    driver = Driver(host, AgentConfig())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: driver.stop())
    host.log("Agent starts", version=__version__)
    return driver.run()


if __name__ == "__main__":
    sys.exit(main())
