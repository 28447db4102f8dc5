"""`python -m slipway_sandbox machines | all | mirror`."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aiohttp import web

from slipway_sandbox.cloud.cli import add_addresses_argument
from slipway_sandbox.cloud.ranges import RangeTaken
from slipway_sandbox.machines.binaries import PROGRAMS, Binaries, BinariesUnusable, find_binaries
from slipway_sandbox.machines.control import build_control
from slipway_sandbox.machines.mirror import make_mirror
from slipway_sandbox.machines.runner import run_machines
from slipway_sandbox.machines.servers import NovaServers, SandboxServers

DEFAULT_RELEASES = ("v1.36.3", "v1.37.2")


def main(argv: list[str]) -> int:
    """Runs one of the subcommands and returns its exit code."""
    parser = argparse.ArgumentParser(prog="slipway_sandbox")
    commands = parser.add_subparsers(dest="command", required=True)
    _machines_arguments(commands.add_parser("machines", help="run machines for a cloud's servers"))
    _all_arguments(commands.add_parser("all", help="run the emulated cloud, its machines and a mirror of programs"))
    _mirror_arguments(commands.add_parser("mirror", help="make a folder of programs with releases.yaml"))
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if arguments.command == "mirror":
        return _make_mirror(arguments)
    serve = _serve_machines if arguments.command == "machines" else _serve_all
    try:
        with _binaries_of(arguments) as binaries:
            asyncio.run(serve(arguments, binaries))
    except BinariesUnusable as unusable:
        sys.stderr.write(f"{unusable}\n")
        return 2
    except RangeTaken as taken:
        sys.stderr.write(f"{taken}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"Cannot start: {error.strerror or error}. Choose other ports if one is taken.\n")
        return 1
    return 0


def _machines_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cloud", required=True, help="entry of clouds.yaml with the admin role")
    parser.add_argument("--poll-every", type=float, default=1.0, help="seconds between two looks at the cloud")
    parser.add_argument(
        "--zone-exclude", action="append", default=[], help="leave servers of this zone alone: they really boot"
    )
    parser.add_argument("--control-port", type=int, default=18790, help="control API on 127.0.0.1; 0: a free port")
    _binaries_arguments(parser)


def _all_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--state-dir", type=Path, required=True, help="gets clouds.yaml and the mirror")
    parser.add_argument("--port", type=int, default=18780, help="the cloud on 127.0.0.1; 0: a free port")
    parser.add_argument("--control-port", type=int, default=18790, help="the machines' control API; 0: a free port")
    parser.add_argument("--mirror-port", type=int, default=18791, help="the mirror of programs; 0: a free port")
    parser.add_argument("--release", action="append", help=f"releases in the mirror; default {DEFAULT_RELEASES}")
    parser.add_argument("--seed", type=int, default=0, help="decides every id of the cloud")
    add_addresses_argument(parser)
    _binaries_arguments(parser)


def _binaries_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--binaries",
        type=Path,
        action="append",
        default=[],
        help=f"folder with a release's {', '.join(PROGRAMS)}: machines really run them; repeatable, one for a release",
    )
    parser.add_argument("--hosts-dir", type=Path, help="gets the machines' files when programs are real; default: new")


def _mirror_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dir", type=Path, required=True, help="the folder to fill")
    parser.add_argument("--release", action="append", required=True, help="repeatable, such as v1.36.3")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        action="append",
        help="folder of real programs (such as $KUBEBUILDER_ASSETS), one for each --release; none: placeholders",
    )


def _make_mirror(arguments: argparse.Namespace) -> int:
    sources = arguments.source or []
    if sources and len(sources) != len(arguments.release):
        sys.stderr.write("Give one --from for each --release.\n")
        return 2
    try:
        path = make_mirror(arguments.dir, arguments.release, dict(zip(arguments.release, sources, strict=False)))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{path}\n")
    return 0


@contextlib.contextmanager
def _binaries_of(arguments: argparse.Namespace) -> Iterator[Binaries | None]:
    """The real programs that were asked for, with a folder for the machines' files. Raises BinariesUnusable."""
    if not arguments.binaries:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="slipway-hosts-") as folder:
        yield find_binaries(arguments.binaries, arguments.hosts_dir or Path(folder))


async def _serve_machines(arguments: argparse.Namespace, binaries: Binaries | None) -> None:
    servers = await asyncio.to_thread(NovaServers, arguments.cloud)
    async with (
        run_machines(
            servers, every=arguments.poll_every, exclude_zones=arguments.zone_exclude, binaries=binaries
        ) as runner,
        serve_app(build_control(runner), arguments.control_port) as control,
    ):
        _say(f"Machines of cloud {arguments.cloud}", f"control API: {control}/machines")
        await _until_stopped()


async def _serve_all(arguments: argparse.Namespace, binaries: Binaries | None) -> None:
    from slipway_sandbox.cloud.sandbox import Sandbox

    folder = arguments.state_dir / "mirror"
    releases = make_mirror(folder, arguments.release or DEFAULT_RELEASES)
    async with (
        Sandbox.start(
            arguments.state_dir,
            port=arguments.port,
            seed=arguments.seed,
            realize=True,
            addresses=arguments.addresses,
        ) as sandbox,
        run_machines(SandboxServers(sandbox.cloud), every=0.5, binaries=binaries) as runner,
        serve_app(build_control(runner), arguments.control_port) as control,
        serve_app(build_mirror(folder), arguments.mirror_port) as mirror,
    ):
        _say(
            f"Cloud on {sandbox.origin}",
            f"export OS_CLIENT_CONFIG_FILE={sandbox.clouds_yaml} OS_CLOUD=sandbox",
            f"control API of the cloud: {sandbox.origin}/_control/servers",
            f"control API of the machines: {control}/machines",
            f"mirror: {mirror}",
            f"releases: {releases}",
        )
        await _until_stopped()


def build_mirror(folder: Path) -> web.Application:
    """Serves the folder that `make_mirror` filled."""
    app = web.Application()
    app.router.add_static("/", folder)
    return app


@contextlib.asynccontextmanager
async def serve_app(app: web.Application, port: int) -> AsyncIterator[str]:
    """Serves an application on 127.0.0.1 while the block lasts; its address."""
    http = web.AppRunner(app, access_log=None)
    await http.setup()
    try:
        site = web.TCPSite(http, "127.0.0.1", port)
        await site.start()
        yield f"http://127.0.0.1:{http.addresses[0][1]}"
    finally:
        await http.cleanup()


async def _until_stopped() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def _say(headline: str, *lines: str) -> None:
    sys.stdout.write("\n  ".join([headline, *lines]) + "\n")
    sys.stdout.flush()
