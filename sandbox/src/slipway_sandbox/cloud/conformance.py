"""A cloud to run the conformance suite against, and what a test made there."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import openstack
from openstack.connection import Connection

from slipway_sandbox.cloud.model import CloudTimes
from slipway_sandbox.cloud.sandbox import Sandbox

SANDBOX_TIMES = CloudTimes(
    schedule=timedelta(milliseconds=100),
    build=timedelta(milliseconds=300),
    delete=timedelta(milliseconds=300),
    stop=timedelta(milliseconds=200),
    reboot=timedelta(milliseconds=200),
    balancer_create=timedelta(milliseconds=500),
    balancer_update=timedelta(milliseconds=400),
    balancer_delete=timedelta(milliseconds=300),
)
MICROVERSION = "2.90"


@dataclass
class CloudUnderTest:
    """A tenant's and an administrator's connection to the same cloud."""

    tenant: Connection
    admin: Connection
    made: list[Callable[[], Any]] = field(default_factory=list)

    def ask(self, service: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One raw call as the tenant; returns the `requests` response, whatever its status."""
        return _raw(self.tenant, service, method, path, body, **options)

    def ask_as_admin(self, service: str, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """One raw call as the administrator."""
        return _raw(self.admin, service, method, path, body, **options)

    def clean_later(self, service: str, path: str) -> None:
        """Delete this at the end of the test, last made first; what is gone already is fine."""
        self.made.append(lambda: self._delete(service, path))

    def _delete(self, service: str, path: str) -> None:
        until(lambda: self.ask(service, "DELETE", path).status_code not in (409, 500), "it lets itself be deleted")
        if "/servers/" in path or "/loadbalancers/" in path:
            bare = path.partition("?")[0]
            until(lambda: self.ask(service, "GET", bare).status_code == 404, "it is gone")

    def clean_up(self) -> None:
        """Run the deletions."""
        while self.made:
            self.made.pop()()

    def private_network(self) -> Any:
        """The tenant's network, as Neutron describes it."""
        return self.ask("network", "GET", "/networks?name=private").json()["networks"][0]

    def flavor_id(self) -> str:
        """The smallest general flavor."""
        flavors = self.ask("compute", "GET", "/flavors/detail").json()["flavors"]
        return str(next(flavor["id"] for flavor in flavors if flavor["name"] == "m1.small"))

    def image_id(self) -> str:
        """An image for servers that need not boot."""
        return str(self.ask("image", "GET", "/images?name=debian-12").json()["images"][0]["id"])

    def zone(self) -> str:
        """A zone whose servers need not boot."""
        zones = self.ask("compute", "GET", "/os-availability-zone").json()["availabilityZoneInfo"]
        return str(next(zone["zoneName"] for zone in zones if zone["zoneName"] != "real"))

    def port(self, **fields: Any) -> Any:
        """A new port on the private network."""
        body = {"port": {"network_id": self.private_network()["id"], "name": "conformance", **fields}}
        port = self.ask("network", "POST", "/ports", body).json()["port"]
        self.clean_later("network", f"/ports/{port['id']}")
        return port

    def server_body(self, port_id: str, **fields: Any) -> dict[str, Any]:
        """The body of POST /servers for a server on a port."""
        return {
            "name": "conformance",
            "flavorRef": self.flavor_id(),
            "imageRef": self.image_id(),
            "networks": [{"port": port_id}],
            "availability_zone": self.zone(),
            **fields,
        }

    def boot(self, port_id: str, hints: Any = None, **fields: Any) -> str:
        """Ask for a server; returns its id at once."""
        body: dict[str, Any] = {"server": self.server_body(port_id, **fields)}
        if hints:
            body["os:scheduler_hints"] = hints
        response = self.ask("compute", "POST", "/servers", body)
        assert response.status_code == 202, response.text
        server_id = str(response.json()["server"]["id"])
        self.clean_later("compute", f"/servers/{server_id}")
        return server_id

    def server(self, server_id: str) -> Any:
        """A server as the tenant sees it."""
        return self.ask("compute", "GET", f"/servers/{server_id}").json()["server"]

    def wait_for_server(self, server_id: str, status: str) -> Any:
        """Wait until a server has a status and no task."""

        def reached() -> Any:
            server = self.server(server_id)
            return server if server["status"] == status and not server["OS-EXT-STS:task_state"] else None

        return until(reached, f"the server is {status}")


def _raw(connection: Connection, service: str, method: str, path: str, body: Any, **options: Any) -> Any:
    adapter = getattr(connection, service)
    if service == "compute":
        options.setdefault("microversion", MICROVERSION)
    if body is not None:
        options["json"] = body
    return adapter.request(path, method, raise_exc=False, **options)


def until(look: Callable[[], Any], what: str, seconds: float = 40.0) -> Any:
    """Look until the result is true, at most so long; returns it."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.2)):
        found = look()
        if found:
            return found
        pause.wait(0.2)
    raise AssertionError(f"waited {seconds} s in vain until {what}")


@contextmanager
def sandbox_cloud() -> Iterator[CloudUnderTest]:
    """The sandbox on a port of its own, served by a thread."""
    ready, stop = threading.Event(), threading.Event()
    found: list[Sandbox] = []

    async def serve() -> None:
        async with Sandbox.start(times=SANDBOX_TIMES) as sandbox:
            found.append(sandbox)
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(20), "the sandbox did not start"
        with _connected(
            openstack.connect(**found[0].login("sandbox")),
            openstack.connect(**found[0].login("sandbox-admin")),
        ) as cloud:
            yield cloud
    finally:
        stop.set()
        thread.join(20)


@contextmanager
def real_cloud() -> Iterator[CloudUnderTest]:
    """The cloud that SLIPWAY_TEST_CLOUD and SLIPWAY_TEST_ADMIN_CLOUD name in clouds.yaml."""
    tenant = os.environ["SLIPWAY_TEST_CLOUD"]
    admin = os.environ.get("SLIPWAY_TEST_ADMIN_CLOUD", tenant)
    with _connected(openstack.connect(tenant), openstack.connect(admin)) as cloud:
        yield cloud


@contextmanager
def _connected(tenant: Connection, admin: Connection) -> Iterator[CloudUnderTest]:
    try:
        yield CloudUnderTest(tenant, admin)
    finally:
        tenant.close()
        admin.close()
