"""What tests of a whole platform need: a user of it, the cloud's memory of servers, kills at named points."""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import httpx
import openstack

from slipway_platform.inventory import inventory
from slipway_platform.platform import Platform

T = TypeVar("T")


def until(holds: Callable[[], T | None], what: str, within: float, *, meanwhile: Callable[[], None] | None = None) -> T:
    """What `holds` returns once it is true; TimeoutError says what did not happen."""
    deadline = time.monotonic() + within
    while not (result := holds()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"within {within:.0f} s this did not happen: {what}")
        if meanwhile is not None:
            meanwhile()
        time.sleep(0.1)
    return result


class User:
    """Somebody with an account in the platform's cloud: uses the command, the REST API and the cloud itself."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        access = platform.cloud_access
        self.environment = {
            "OS_CLIENT_CONFIG_FILE": str(platform.clouds_yaml),
            "OS_CLOUD": access.user,
            "SLIPWAY_ENDPOINT": platform.endpoint,
        }
        self.cloud = openstack.connection.Connection(config=_config(platform, access.user))
        token = str(self.cloud.session.get_token())
        self._begun: list[subprocess.Popen[str]] = []
        self.http = httpx.Client(base_url=platform.endpoint, headers={"X-Auth-Token": token}, timeout=20)

    def slipway(self, *arguments: str, within: float = 150.0) -> str:
        """Run the command and return its standard output; AssertionError shows what it said when it fails."""
        running = self.begin(*arguments)
        output, said = running.communicate(timeout=within)
        assert running.returncode == 0, f"slipway {' '.join(arguments)} ended with {running.returncode}:\n{said}"
        return output

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command and do not wait for it; it ends with `close` at the latest."""
        begun = subprocess.Popen(
            [sys.executable, "-m", "slipway_cli", *arguments],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self._begun.append(begun)
        return begun

    def get(self, path: str) -> Any:
        """A document of the REST API; httpx.HTTPStatusError when it is refused."""
        answer = self.http.get(path)
        answer.raise_for_status()
        return answer.json()

    def nodes(self, cluster: str) -> list[dict[str, Any]]:
        """The cluster's nodes as the API shows them."""
        rows: list[dict[str, Any]] = self.get(f"/v1/clusters/{cluster}/nodes")["items"]
        return rows

    def inventory(self) -> set[str]:
        """What the project has in the cloud."""
        return inventory(self.cloud)

    def close(self) -> None:
        """End what was begun and close the connections."""
        for command in self._begun:
            if command.poll() is None:
                command.kill()
            command.communicate()
        self.http.close()
        self.cloud.close()


class ServerHistory:
    """Every server that the cloud ever had, deleted ones too, by the marks that Slipway gave it."""

    def __init__(self, platform: Platform) -> None:
        assert platform.cloud_access.observer is not None
        self._cloud = openstack.connection.Connection(config=_config(platform, platform.cloud_access.observer))

    def of_cluster(self, cluster_id: str) -> dict[str, list[str]]:
        """Server ids by `<node>/<incarnation>`; more than one id at one key means that a node had two servers."""
        found: dict[str, list[str]] = defaultdict(list)
        for deleted in (False, True):
            for server in self._cloud.compute.servers(all_projects=True, deleted=deleted):
                marks = server.metadata
                if marks.get("slipway_cluster") == cluster_id:
                    found[f"{marks['slipway_node']}/{marks['slipway_incarnation']}"].append(server.id)
        return dict(found)

    def require_one_server_for_each_node(self, user: User, cluster: str) -> None:
        """AssertionError when any node of the cluster ever had two servers, or there are servers of no node."""
        servers = self.of_cluster(user.get(f"/v1/clusters/{cluster}")["id"])
        expected = {f"{each['id']}/{each['incarnation']}": 1 for each in user.nodes(cluster)}
        assert {key: len(ids) for key, ids in servers.items()} == expected

    def close(self) -> None:
        """Close the connection."""
        self._cloud.close()


class Kills:
    """Kills a service with SIGKILL at named points (slipway_chassis.crash), one after the other, and starts it again.

    `step` is called from the test's main thread: a child dies with the thread that started it.
    """

    def __init__(self, platform: Platform, service: str, points: Sequence[str]) -> None:
        self.service = service
        self.done: list[str] = []
        self._platform = platform
        self._left = list(points)
        platform.processes[service].kill()
        self._start()

    def _start(self) -> None:
        armed = {"SLIPWAY_CRASH_AT": self._left[0]} if self._left else {}
        self._platform.start_service(self.service, armed)

    def step(self) -> None:
        """Note a death and start the service again, armed for the next point; any other end is a failure."""
        process = self._platform.processes[self.service]
        if process.is_running:
            return
        assert process.exit_code == -9, process.tail()
        assert self._left, f"{self.service} was killed though nothing was armed"
        self.done.append(self._left.pop(0))
        self._start()


def run_while_killed(user: User, kills: Sequence[Kills], arguments: Sequence[str], *, within: float) -> None:
    """Run the command while services die and come back; AssertionError shows what it said when it fails."""
    command = user.begin(*arguments)

    def step() -> None:
        for each in kills:
            each.step()

    until(lambda: command.poll() is not None, f"slipway {' '.join(arguments)} ends", within, meanwhile=step)
    _, said = command.communicate()
    assert command.returncode == 0, said


def events_in(stream: httpx.Response) -> Any:
    """The data of each Server-Sent Event, as it comes."""
    for line in stream.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def _config(platform: Platform, name: str) -> Any:
    """The entry of the platform's own clouds.yaml, whatever OS_CLIENT_CONFIG_FILE of this process says."""
    files = [str(platform.clouds_yaml)]
    return openstack.config.OpenStackConfig(config_files=files, load_envvars=False).get_one(cloud=name)
