"""A stateful fake of Slipway's agent endpoints (provisioner and monitor in one), over TLS on a free port."""

import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from slipway_node_agent.cloud_config import cloud_config
from slipway_sandbox.machines.authority import Authority, private_key_pem
from slipway_sandbox.machines.certificates import public_key_of
from slipway_sandbox.machines.cli import build_mirror, serve_app
from slipway_sandbox.machines.mirror import make_mirror
from slipway_sandbox.machines.servers import CloudAway, CloudServer
from slipway_sandbox.machines.testing.plans import RELEASE, Layout, NodePlan, a_plan
from slipway_sandbox.machines.tls import server_context

PROGRAM = b"the agent's program"


@dataclass
class FakeServers:
    """The servers of a cloud: a dictionary that a test changes."""

    servers: dict[str, CloudServer] = field(default_factory=dict)
    away: bool = False
    empty_list: bool = False

    def all(self) -> list[CloudServer]:
        if self.away:
            raise CloudAway("503")
        return [] if self.empty_list else list(self.servers.values())

    def is_gone(self, server_id: str) -> bool:
        return server_id not in self.servers


class FakeSlipway:
    """Signs, plans and listens; `reports` and `observations` hold the latest of each node."""

    def __init__(self, layout: Layout, url: str = "") -> None:
        self.layout = layout
        self.authorities = {name: Authority(name) for name in ("kubernetes", "etcd", "front-proxy", "agents")}
        self.mirror: dict[str, tuple[str, str]] = {}
        self.url = url
        self.reports: dict[str, Any] = {}
        self.observations: dict[str, Any] = {}
        self._plans: dict[str, NodePlan] = {}
        self._accounts = private_key_pem(ec.generate_private_key(ec.SECP256R1()))

    def plan(self, node: str) -> NodePlan:
        if node not in self._plans:
            pems = {name: authority.certificate_pem for name, authority in self.authorities.items()}
            pems |= {"sa.key": self._accounts, "sa.pub": str(public_key_of(self._accounts))}
            role = next(role for role in ("etcd", "controllers", "workers") if node in getattr(self.layout, role))
            self._plans[node] = a_plan(role.removesuffix("s"), node, self.layout, pems, self.mirror)
        return self._plans[node]

    def user_data(self, node: str) -> str:
        bootstrap = {
            "url": self.url,
            "ca_pem": self.authorities["agents"].certificate_pem,
            "token": f"token of {node}",
            "node_id": node,
            "program_sha256": hashlib.sha256(PROGRAM).hexdigest(),
        }
        return cloud_config(json.dumps(bootstrap), f"{self.url}/v1/agent/program")

    def states(self) -> dict[str, str]:
        return {node: report["state"] for node, report in self.reports.items()}

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/agent/program", self._program)
        app.router.add_get("/v1/agent/time", self._time)
        app.router.add_post("/v1/agent/claim", self._claim)
        app.router.add_get("/v1/agent/plan", self._plan)
        app.router.add_post("/v1/agent/certificates", self._certificates)
        app.router.add_post("/v1/agent/report", self._report)
        app.router.add_post("/v1/agent/observations", self._observe)
        return app

    async def _program(self, _: web.Request) -> web.Response:
        return web.Response(body=PROGRAM)

    async def _time(self, _: web.Request) -> web.Response:
        return web.json_response({"now": datetime.now(UTC).isoformat()})

    async def _claim(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["token"] != f"token of {body['node_id']}":
            return web.json_response({}, status=403)
        agents = self.authorities["agents"]
        certificate = _sign(agents, body["csr_pem"], body["node_id"], (), ())
        answer = {
            "certificate_pem": certificate,
            "ca_pem": agents.certificate_pem,
            "observe_url": self.url,
            "observe_every": 0.3,
        }
        return web.json_response(answer)

    async def _plan(self, request: web.Request) -> web.Response:
        if int(request.query["after"]) >= 1:
            return web.Response(status=204)
        node = _caller(request)
        return web.json_response({"node_id": node, "revision": 1, "steps": self.plan(node).steps})

    async def _certificates(self, request: web.Request) -> web.Response:
        plan = self.plan(_caller(request))
        signed = []
        for entry in (await request.json())["requests"]:
            profile = plan.profiles[entry["name"]]
            authority = self.authorities[profile.authority]
            pem = _sign(authority, entry["csr_pem"], profile.common_name, profile.organizations, profile.names)
            signed.append({"name": entry["name"], "certificate_pem": pem})
        return web.json_response({"certificates": signed})

    async def _report(self, request: web.Request) -> web.Response:
        self.reports[_caller(request)] = await request.json()
        return web.Response(status=204)

    async def _observe(self, request: web.Request) -> web.Response:
        self.observations[_caller(request)] = await request.json()
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def serve_slipway(layout: Layout, folder: Path) -> AsyncIterator[FakeSlipway]:
    """Agent endpoints and mirror until the block ends."""
    slipway = FakeSlipway(layout)
    make_mirror(folder, [RELEASE])
    async with serve_app(build_mirror(folder), 0) as mirror:
        for program in (folder / RELEASE).iterdir():
            url = f"{mirror}/{RELEASE}/{program.name}"
            slipway.mirror[program.name] = (url, hashlib.sha256(program.read_bytes()).hexdigest())
        agents = slipway.authorities["agents"]
        issued = agents.issue("agents", names=("127.0.0.1",))
        context = server_context(issued.certificate_pem, issued.key_pem, agents.certificate_pem, required=False)
        http = web.AppRunner(slipway.app(), access_log=None, shutdown_timeout=0.1)
        await http.setup()
        site = web.TCPSite(http, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        slipway.url = f"https://127.0.0.1:{http.addresses[0][1]}"
        try:
            yield slipway
        finally:
            await http.cleanup()


def _caller(request: web.Request) -> str:
    assert request.transport is not None
    certificate = request.transport.get_extra_info("peercert")
    return str(dict(pair[0] for pair in certificate["subject"])["commonName"])


def _sign(
    authority: Authority, csr_pem: str, common_name: str, organizations: tuple[str, ...], names: tuple[str, ...]
) -> str:
    """A certificate for the request's key, by way of the authority's own issuing."""
    key = x509.load_pem_x509_csr(csr_pem.encode()).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return authority.certify(key, common_name, organizations, names=names, lifetime=timedelta(hours=1))
