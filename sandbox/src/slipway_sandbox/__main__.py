"""`python -m slipway_sandbox`: the cloud, the machines, or both."""

from __future__ import annotations

import argparse
import importlib
import sys

from slipway_sandbox.cloud import cli as cloud_cli


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="slipway_sandbox", description="A cloud and machines to develop against")
    commands = parser.add_subparsers(dest="command", required=True)
    cloud_cli.add_arguments(commands.add_parser("cloud", help="run the emulated cloud"))
    for name, help_text in (
        ("machines", "run machines for a cloud's servers"),
        ("all", "run cloud and machines"),
        ("mirror", "make a folder of programs"),
    ):
        commands.add_parser(name, help=help_text, add_help=False)
    arguments, rest = parser.parse_known_args(words)
    if arguments.command == "cloud":
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return cloud_cli.run(arguments)
    # The machine runner needs the node agent: only who asks for it pays for loading it.
    machines_cli = importlib.import_module("slipway_sandbox.machines.cli")
    return int(machines_cli.main([arguments.command, *rest]))


if __name__ == "__main__":
    sys.exit(main())
