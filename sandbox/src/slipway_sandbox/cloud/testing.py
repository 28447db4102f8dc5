"""For tests and simulations: a clock that steps, and a tenant that talks to a cloud without a socket."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.messages import Json, Request, Response
from slipway_sandbox.cloud.seed import LOGINS

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class SteppingClock:
    """A clock that only moves when told."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def now(self) -> datetime:
        """The current time, aware and in UTC."""
        return self.time

    def step(self, seconds: float) -> None:
        """Move on."""
        self.time += timedelta(seconds=seconds)


class Tenant:
    """One login of the cloud, with a token; `ask` answers with the raw response."""

    def __init__(self, cloud: Cloud, login: str = "sandbox", project: str | None = None) -> None:
        self.cloud = cloud
        self._login = next(item for item in LOGINS if item.cloud == login)
        self._project = project or self._login.project
        self.token = ""
        self.project_id = ""
        self.log_in()

    def log_in(self) -> None:
        """Take a new token; AssertionError where the cloud gives none."""
        domain = {"id": "default"}
        user = {"name": self._login.user, "domain": domain, "password": self._login.password}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": self._project, "domain": domain}},
        }
        response = self.cloud.handle(Request.of("POST", "/identity/v3/auth/tokens", payload={"auth": auth}))
        assert response.status == 201, response.body
        self.token = response.headers["X-Subject-Token"]
        self.project_id = response.json()["token"]["project"]["id"]

    def ask(
        self,
        method: str,
        url: str,
        payload: Json | None = None,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """One request, e.g. `ask("GET", "/compute/v2.1/servers")`; Nova is asked at microversion 2.90."""
        sent = {
            "x-auth-token": self.token,
            "openstack-api-version": "compute 2.90",
            "host": "sandbox",
            **(headers or {}),
        }
        return self.cloud.handle(Request.of(method, url, headers=sent, payload=payload, body=body))

    def get(self, url: str) -> Any:
        """The decoded body of a GET that must succeed."""
        response = self.ask("GET", url)
        assert response.status == 200, (response.status, response.body)
        return response.json()

    def network_id(self, name: str = "private") -> str:
        """A network by name."""
        return str(self.get(f"/network/v2.0/networks?name={name}")["networks"][0]["id"])

    def a_port(self, **fields: Any) -> Json:
        """A new port on `private`."""
        port = {"network_id": self.network_id(), "name": "a-port", **fields}
        response = self.ask("POST", "/network/v2.0/ports", {"port": port})
        assert response.status == 201, (response.status, response.body)
        made: Json = response.json()["port"]
        return made

    def server_body(self, port_id: str, flavor: str = "m1.small", **fields: Any) -> Json:
        """What POST /servers needs."""
        flavors = self.get("/compute/v2.1/flavors/detail")["flavors"]
        images = self.get("/image/v2/images?name=debian-12")["images"]
        return {
            "name": "a-server",
            "flavorRef": next(item["id"] for item in flavors if item["name"] == flavor),
            "imageRef": images[0]["id"],
            "networks": [{"port": port_id}],
            **fields,
        }

    def a_server(self, port_id: str | None = None, group: str | None = None, **fields: Any) -> str:
        """The id of a new server, on a port of its own unless one is given."""
        body: Json = {"server": self.server_body(port_id or self.a_port()["id"], **fields)}
        if group:
            body["os:scheduler_hints"] = {"group": group}
        response = self.ask("POST", "/compute/v2.1/servers", body)
        assert response.status == 202, (response.status, response.body)
        return str(response.json()["server"]["id"])

    def server(self, server_id: str) -> Json:
        """A server as this tenant sees it."""
        shown: Json = self.get(f"/compute/v2.1/servers/{server_id}")["server"]
        return shown
