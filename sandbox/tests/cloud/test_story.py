"""Random stories: whatever is asked in whatever order, the cloud stays one that could exist."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_sandbox.cloud.cloud import Cloud
from slipway_sandbox.cloud.testing import SteppingClock, Tenant

STEPS = st.lists(
    st.tuples(
        st.sampled_from(("port", "server", "same-port", "delete", "kill", "stop", "reboot", "drop-port", "step")),
        st.integers(0, 7),
    ),
    max_size=25,
)


class Story:
    """A tenant that does things, and what must be true after each."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.cloud = Cloud(self.clock.now)
        self.demo = Tenant(self.cloud)
        self.ports: list[str] = []
        self.servers: list[str] = []

    def do(self, what: str, which: int) -> None:
        if what == "step":
            self.clock.step(which * 0.3)
        elif what == "port" or not self.ports:
            self.ports.append(self.demo.a_port()["id"])
        elif what in ("server", "same-port"):
            self._boot(self.ports[-1] if what == "server" else self.ports[which % len(self.ports)])
        elif what == "drop-port":
            self.demo.ask("DELETE", f"/network/v2.0/ports/{self.ports[which % len(self.ports)]}")
        elif self.servers:
            self._disturb(what, self.servers[which % len(self.servers)])

    def _boot(self, port: str) -> None:
        body = {"server": self.demo.server_body(port)}
        response = self.demo.ask("POST", "/compute/v2.1/servers", body)
        assert response.status in (202, 400, 409)
        if response.status == 202:
            self.servers.append(response.json()["server"]["id"])

    def _disturb(self, what: str, server: str) -> None:
        url = f"/compute/v2.1/servers/{server}"
        if what == "delete":
            assert self.demo.ask("DELETE", url).status in (204, 404)
        elif what == "kill" and self.demo.ask("GET", url).status == 200:
            self.cloud.kill_server(server, "vanish")
        else:
            action = {"os-stop": None} if what == "stop" else {"reboot": {"type": "HARD"}}
            assert self.demo.ask("POST", f"{url}/action", action).status in (202, 404, 409)

    def check(self) -> None:
        ports = self.demo.get("/network/v2.0/ports")["ports"]
        addresses = [fixed["ip_address"] for port in ports for fixed in port["fixed_ips"]]
        assert len(addresses) == len(set(addresses)), "an address is used twice"
        servers = {s["id"]: s for s in self.demo.get("/compute/v2.1/servers/detail")["servers"]}
        for port in ports:
            assert port["device_id"] in ("", *servers), "a port belongs to a server that does not exist"
        shown = [item["addr"] for s in servers.values() for nets in s["addresses"].values() for item in nets]
        assert len(shown) == len(set(shown)), "two servers have the same address"
        assert set(shown) <= set(addresses), "a server has an address without a port"

    def finish(self) -> None:
        for server in self.servers:
            self.demo.ask("DELETE", f"/compute/v2.1/servers/{server}")
        self.clock.step(60)
        for port in self.ports:
            self.demo.ask("DELETE", f"/network/v2.0/ports/{port}")
        left = self.cloud.summary()["demo"]
        assert not any(left.values()), left


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_any_story_keeps_the_cloud_possible_and_ends_empty(steps: list[tuple[str, int]]) -> None:
    story = Story()
    for what, which in steps:
        story.do(what, which)
        story.check()
    story.finish()
