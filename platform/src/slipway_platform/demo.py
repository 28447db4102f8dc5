"""`make demo`: the platform's main job in five acts, on the sandbox: create, lose a server, heal, scale, delete.

Everything is done as a user would do it, with the `slipway` command and the cloud's own API.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import openstack
from rich.console import Console

from slipway_platform.inventory import inventory
from slipway_platform.layout import RegionPlan
from slipway_platform.platform import Platform, running

CLUSTER = "demo"
HEAL_WITHIN = 180.0
STEP_SHOWN = 10
PROGRESS_LINE = re.compile(r"\d\d:\d\d:\d\d +(\d+) %")

console = Console(highlight=False)


class Demo:
    """One run of the demo against a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self.environment = {
            "OS_CLIENT_CONFIG_FILE": str(platform.clouds_yaml),
            "OS_CLOUD": platform.cloud_access.user,
            "SLIPWAY_ENDPOINT": platform.endpoint,
        }
        self._cloud = openstack.connect(cloud=platform.cloud_access.user, load_yaml_config=True)

    def play(self) -> None:
        """All acts; raises when one does not end as it should."""
        before = inventory(self._cloud)
        self._act("A cluster: 5 etcd, 3 controllers, 3 workers")
        self.slipway("cluster", "create", CLUSTER)
        self.slipway("node", "list", CLUSTER)
        self._act("A worker's server disappears from the cloud")
        self._lose_a_worker()
        self._act("One more worker")
        self.slipway("pool", "scale", CLUSTER, "worker", "4")
        self._act("Away with it")
        self.slipway("cluster", "delete", CLUSTER, "--yes")
        self._prove_nothing_is_left(before)

    def slipway(self, *arguments: str) -> None:
        """Run the command as a user would, on this terminal."""
        console.print(f"[bold]$ slipway {' '.join(arguments)}[/bold]")
        command = [sys.executable, "-m", "slipway_cli", *arguments]
        if console.is_terminal:
            subprocess.run(command, env=self._env(), check=True)
            return
        with subprocess.Popen(command, env=self._env(), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in abridged(process.stdout):
                console.print(line, end="", markup=False, soft_wrap=True)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)

    def nodes(self) -> list[dict[str, Any]]:
        """The cluster's nodes as the API shows them."""
        output = subprocess.run(
            [sys.executable, "-m", "slipway_cli", "node", "list", CLUSTER, "-f", "json"],
            env=self._env(), check=True, capture_output=True,
        )  # fmt: skip
        rows: list[dict[str, Any]] = json.loads(output.stdout)
        return rows

    def _lose_a_worker(self) -> None:
        victim = next(node for node in self.nodes() if node["role"] == "worker")
        server = self._cloud.compute.find_server(victim["name"], ignore_missing=False)
        console.print(f"Deleting the server of {victim['name']} behind Slipway's back ({server.id})")
        known = {node["name"] for node in self.nodes()}
        self._cloud.compute.delete_server(server.id)
        began = time.monotonic()
        replacement = self._until(lambda: self._ready_worker_beside(known), "the worker is replaced")
        self._until(lambda: victim["name"] not in {node["name"] for node in self.nodes()}, "the lost one is gone")
        console.print(f"[green]✓[/green] {replacement} took its place after {time.monotonic() - began:.0f} s")
        self.slipway("node", "list", CLUSTER)

    def _ready_worker_beside(self, known: set[str]) -> str | None:
        for node in self.nodes():
            if node["role"] == "worker" and node["name"] not in known and node["state"] == "ready":
                return str(node["name"])
        return None

    def _prove_nothing_is_left(self, before: set[str]) -> None:
        left = inventory(self._cloud) - before
        if left:
            raise RuntimeError("left in the cloud: " + ", ".join(sorted(left)))
        console.print(
            "[green]✓[/green] Listed servers, ports, server groups, security groups and load balancers of the project: "
            "nothing is there that was not there before"
        )

    def _until(self, holds: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + HEAL_WITHIN
        while not (result := holds()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"within {HEAL_WITHIN:.0f} s this did not happen: {what}")
            time.sleep(0.5)
        return result

    def _act(self, title: str) -> None:
        console.print()
        console.rule(f"[bold]{title}[/bold]", align="left")

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


def abridged(lines: Iterable[str]) -> Iterator[str]:
    """The plain progress of a command, one line for each ten percent: without a terminal an act still fits a screen."""
    shown = -STEP_SHOWN
    for line in lines:
        progress = PROGRESS_LINE.match(line)
        if progress is None:
            yield line
        elif int(progress[1]) >= shown + STEP_SHOWN:
            shown = int(progress[1])
            yield line


LOOKS_OFTEN = {"provisioner": {"POLL_IDLE": "PT2S"}, "monitor": {"ROUND_EVERY": "PT2S"}}
"""A cloud of one's own may be asked every two seconds: who watches need not wait until a lost server is noticed."""


def sandbox_region() -> RegionPlan:
    """The region of the sandbox's cloud."""
    return RegionPlan(
        zones=("zone-1", "zone-2", "zone-3"),
        defaults={
            "image": "debian-12-node",
            "flavor": {"any": "node.small"},
            "network": "private",
            "release": "v1.36.3",
        },
        endpoint={"ready_delay": 1.0},
    )


def main() -> int:
    """Run the demo; with --keep the platform stays until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="slipway-demo")
    parser.add_argument("--keep", action="store_true", help="leave the platform running at the end")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slipway-demo-") as folder:
        platform = Platform(Path(folder), os.environ["AMQP_URL"], sandbox_region(), settings=LOOKS_OFTEN)
        console.print("Starting the sandbox cloud and five services ...")
        with running(platform):
            os.environ["OS_CLIENT_CONFIG_FILE"] = str(platform.clouds_yaml)
            console.print(f"[green]✓[/green] Ready after {time.monotonic() - began:.0f} s: {platform.endpoint}")
            demo = Demo(platform)
            demo.play()
            console.print(f"\n[green]✓[/green] Done in {time.monotonic() - began:.0f} s")
            if keep:
                _keep(platform, demo)
    return 0


def _keep(platform: Platform, demo: Demo) -> None:
    console.rule("[bold]The platform goes on; Ctrl-C stops it[/bold]", align="left")
    for name, value in demo.environment.items():
        console.print(f"export {name}={value}", soft_wrap=True)
    console.print(f"export PATH={Path(sys.executable).parent}:$PATH", soft_wrap=True)
    console.print("slipway cluster create mine --etcd 1 --controllers 1 --workers 2")
    console.print(f"REST API and its documentation: {platform.endpoint}/docs")
    console.print(f"Break things: {platform.cloud_control}/servers and {platform.machines_control}/machines")
    console.print(f"Logs: {platform.layout.logs}")
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
