"""`python -m slipway_sandbox cloud`: run the emulated cloud until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from datetime import timedelta
from ipaddress import IPv4Network
from pathlib import Path

from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.ranges import FIRST, RangeTaken, private_and_public
from slipway_sandbox.cloud.sandbox import Sandbox


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cloud`."""
    parser.add_argument("--port", type=int, default=18780, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state-dir", type=Path, required=True, help="directory that gets the clouds.yaml")
    parser.add_argument("--seed", type=int, default=0, help="decides every id; the same seed gives the same cloud")
    parser.add_argument("--build-seconds", type=float, default=2.0, help="how long a server is in BUILD")
    parser.add_argument(
        "--no-realize",
        action="store_true",
        help="load balancers do not listen on their VIPs (loopback addresses: Linux only)",
    )
    add_addresses_argument(parser)


def add_addresses_argument(parser: argparse.ArgumentParser) -> None:
    """The option that names the networks' addresses."""
    parser.add_argument(
        "--addresses",
        type=_addresses,
        metavar="CIDR",
        help=f"of its networks; default: the first /16 from {FIRST} on that no other sandbox on this host has",
    )


def _addresses(text: str) -> IPv4Network:
    try:
        addresses = IPv4Network(text)
        private_and_public(addresses)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return addresses


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        asyncio.run(_serve(arguments))
    except RangeTaken as taken:
        sys.stderr.write(f"{taken}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"Cannot listen on port {arguments.port}: {error.strerror}. Choose another with --port.\n")
        return 1
    return 0


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox.start(
        arguments.state_dir,
        port=arguments.port,
        seed=arguments.seed,
        times=CloudTimes(build=timedelta(seconds=arguments.build_seconds)),
        realize=not arguments.no_realize,
        addresses=arguments.addresses,
    ) as sandbox:
        sys.stdout.write(
            f"Cloud on {sandbox.origin}\n"
            f"  export OS_CLIENT_CONFIG_FILE={sandbox.clouds_yaml} OS_CLOUD=sandbox\n"
            f"  control API: {sandbox.origin}/_control/servers\n"
        )
        sys.stdout.flush()
        await stop.wait()
