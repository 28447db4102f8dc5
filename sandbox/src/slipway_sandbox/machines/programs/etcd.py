"""etcd: its settings from flags, environment or file, its listeners, its place in an emulated cluster, its health."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml
from aiohttp import web

from slipway_sandbox.machines.certificates import decide_pair_fault, decide_refusal
from slipway_sandbox.machines.etcd_cluster import VERSION, CannotJoin, EtcdCluster, RunningMember
from slipway_sandbox.machines.loopback import Answer, Endpoint
from slipway_sandbox.machines.process import Exited, Process, Program
from slipway_sandbox.machines.tls import server_context

_QUORUM_LOOK = 0.2
_LOCAL = ("127.0.0.1", "localhost")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 a setting that is recognised; the emulation binds the host's own address
_SECURITY = {"client-transport-security": "", "peer-transport-security": "peer-"}


@dataclass(frozen=True)
class Tls:
    """One side's files, as texts."""

    certificate_pem: str
    key_pem: str
    ca_pem: str | None


def etcd_settings(process: Process) -> dict[str, str]:
    """Every setting by its flag's name; flags win over the environment, a configuration file replaces both.

    Raises Exited when the file cannot be read.
    """
    flags = process.flags
    if path := flags.get("config-file"):
        loaded = yaml.safe_load(process.file(path, "error loading config file"))
        if not isinstance(loaded, Mapping):
            raise Exited(f"error loading config file {path}: it is no mapping")
        return _flatten(loaded)
    prefix = "ETCD_"
    environment = {
        key.removeprefix(prefix).lower().replace("_", "-"): value
        for key, value in process.environment.items()
        if key.startswith(prefix)
    }
    return environment | flags


class Etcd(Program):
    """One member."""

    async def run(self) -> None:
        settings = etcd_settings(self.process)
        client = self._tls(settings, "", "listen-client-urls")
        peer = self._tls(settings, "peer-", "listen-peer-urls")
        seat = self._join(settings)
        client_urls = settings.get("listen-client-urls", "http://localhost:2379").split(",")
        advertised = settings.get("advertise-client-urls", ",".join(client_urls)).split(",")
        member = RunningMember(
            settings.get("name", "default"),
            tuple(url.rstrip("/") for url in advertised),
            client.ca_pem if client else None,
            client.certificate_pem if client else None,
        )
        opened: list[int] = []
        servers: list[asyncio.Server] = []
        http = web.Server(seat.serve, access_log=None)
        try:
            await self._listen(servers, opened, http, client_urls, client, seat)
            await self._listen(servers, opened, http, settings.get("listen-peer-urls", "").split(","), peer, seat)
            metrics = [url for url in settings.get("listen-metrics-urls", "").split(",") if url]
            await self._listen(servers, opened, http, metrics, None, seat)
            self._check_peer_certificate(settings, peer)
            seat.cluster.start(seat.member_id, member)
            await self._announce(seat, member)
        finally:
            seat.cluster.stop(seat.member_id, member)
            for server in servers:
                server.close()
            for port in opened:
                self.host.loopback.close(port)
            await http.shutdown(timeout=0.1)

    async def _announce(self, seat: "Seat", member: RunningMember) -> None:
        """Ready with a quorum, as the real one notifies systemd; ends when it is removed."""
        cluster = seat.cluster
        self.process.print(f"member {member.name} of {len(cluster.members)} started")
        while not cluster.has_quorum:  # noqa: ASYNC110 members come and go, and tell nobody
            await asyncio.sleep(_QUORUM_LOOK)
        self.process.print("ready to serve client requests")
        self.process.ready()
        await asyncio.sleep(_QUORUM_LOOK)
        member.in_sync = True
        while seat.member_id in cluster.members:  # noqa: ASYNC110 as above
            await asyncio.sleep(_QUORUM_LOOK)
        raise Exited("the member has been permanently removed from the cluster")

    def _join(self, settings: dict[str, str]) -> "Seat":
        """By its data folder if it has one, else by the initial cluster; writes the data folder."""
        name = settings.get("name", "default")
        data = settings.get("data-dir", f"/var/lib/etcd/{name}.etcd").rstrip("/") + "/member/snap/db"
        kept = self.host.read_file(data)
        try:
            if kept is not None:
                remembered = json.loads(kept)
                return Seat(self.world.etcd.rejoin(remembered["cluster"], remembered["member"]), remembered["member"])
            cluster, member_id = self.world.etcd.join(settings, name)
        except CannotJoin as refusal:
            raise Exited(str(refusal)) from None
        self.host.write_file(data, json.dumps({"cluster": cluster.identity, "member": member_id}), 0o600)
        return Seat(cluster, member_id)

    def _tls(self, settings: dict[str, str], prefix: str, urls: str) -> Tls | None:
        if "https:" not in settings.get(urls, ""):
            return None
        certificate = self.process.file(settings.get(f"{prefix}cert-file", ""), "cannot load the certificate")
        key = self.process.file(settings.get(f"{prefix}key-file", ""), "cannot load the key")
        if fault := decide_pair_fault(certificate, key):
            raise Exited(fault)
        asks = settings.get(f"{prefix}client-cert-auth") == "true" or prefix == "peer-"
        path = settings.get(f"{prefix}trusted-ca-file")
        authority = self.process.file(path, "cannot load the trusted CA") if asks and path else None
        if prefix == "peer-" and authority is None:
            raise Exited("peer TLS without --peer-trusted-ca-file and --peer-client-cert-auth is not accepted here")
        return Tls(certificate, key, authority)

    def _check_peer_certificate(self, settings: dict[str, str], peer: Tls | None) -> None:
        """What the other members would refuse."""
        if peer is None:
            return
        host = urlsplit(settings.get("initial-advertise-peer-urls", "")).hostname
        refusal = decide_refusal(peer.certificate_pem, peer.ca_pem or "", self.host.now(), host)
        if refusal:
            raise Exited(f"rejected connection on peer endpoint: tls: {refusal}")

    async def _listen(
        self,
        servers: list[asyncio.Server],
        opened: list[int],
        http: web.Server,
        urls: list[str],
        tls: Tls | None,
        seat: "Seat",
    ) -> None:
        loop = asyncio.get_running_loop()
        for url in filter(None, urls):
            parts = urlsplit(url)
            port = parts.port or 2379
            secure = tls if parts.scheme == "https" else None
            if parts.hostname in (*_LOCAL, _EVERYWHERE):
                certificate, authority = (secure.certificate_pem, secure.ca_pem) if secure else (None, None)
                self.host.loopback.open(port, Endpoint(seat.answer, certificate, authority, ask=seat.ask))
                opened.append(port)
            if parts.hostname in _LOCAL:
                continue
            context = None
            if secure:
                required = secure.ca_pem is not None
                context = server_context(secure.certificate_pem, secure.key_pem, secure.ca_pem, required=required)
            address = self.host.address if parts.hostname == _EVERYWHERE else parts.hostname
            if address != self.host.address:
                raise Exited(f"listen tcp {address}:{port}: bind: cannot assign requested address")
            # Recorded before it serves: a cancellation within create_server would leave its socket open.
            server = await loop.create_server(http, address, port, ssl=context, start_serving=False)
            servers.append(server)
            await server.start_serving()


@dataclass(frozen=True)
class Seat:
    """A member's place in its cluster, and what it answers there."""

    cluster: EtcdCluster
    member_id: int

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request over HTTP."""
        if request.method == "POST":
            status, said = self.ask(request.path, json.loads(await request.text() or "{}"))
            return web.json_response(said, status=status)
        status, text = self.answer(request.path)
        return web.Response(status=status, text=text)

    def ask(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """One request to the JSON gateway."""
        return self.cluster.ask(self.member_id, path, body)

    def answer(self, path: str) -> Answer:
        """One look at a health endpoint."""
        cluster = self.cluster
        if path == "/health":
            healthy = cluster.has_quorum
            body = {"health": "true" if healthy else "false", "reason": "" if healthy else "RAFT NO LEADER"}
            return (200 if healthy else 503), json.dumps(body)
        if path == "/livez":
            return 200, "ok"
        if path == "/version":
            return 200, json.dumps({"etcdserver": VERSION, "etcdcluster": f"{VERSION.rpartition('.')[0]}.0"})
        if path == "/readyz":
            return (200, "ok") if cluster.serves(self.member_id) else (503, "[-]linearizable_read failed")
        if path == "/metrics":
            return 200, f"etcd_server_has_leader {int(cluster.has_quorum)}\n"
        return 404, "404 page not found"


def _flatten(loaded: Mapping[str, object]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for key, value in loaded.items():
        if key in _SECURITY and isinstance(value, Mapping):
            settings |= {f"{_SECURITY[key]}{inner}": _text(item) for inner, item in value.items()}
        else:
            settings[key] = _text(value)
    return settings


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
