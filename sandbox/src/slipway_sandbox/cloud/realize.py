"""Load balancers that really listen: a TCP proxy on each VIP, with real health checks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass

from slipway_sandbox.cloud.levers import Levers
from slipway_sandbox.cloud.octavia.tree import children, monitor_of, operating_status

LOG = logging.getLogger(__name__)
LOOK_EVERY = 0.2
CHUNK = 65536
CONNECT_TIMEOUT = 5.0


@dataclass(frozen=True)
class Backend:
    """A pool member that may be asked to serve."""

    id: str
    address: str
    port: int
    check_address: str
    check_port: int
    weight: int
    usable: bool


@dataclass(frozen=True)
class Check:
    """How the members of a pool are checked."""

    kind: str
    delay: float
    timeout: float
    path: str
    expected: str


@dataclass(frozen=True)
class Frontend:
    """One listener of one load balancer, as the proxy serves it."""

    id: str
    address: str
    port: int
    backends: tuple[Backend, ...]
    check: Check | None


def observe_frontends(cloud: Levers) -> dict[str, Frontend]:
    """The TCP listeners that should be served now, by id."""
    with cloud.lock:
        state = cloud.state
        state.agenda.run_due(state.now())
        found: dict[str, Frontend] = {}
        for listener in [item for item in state.balanced.values() if item.kind == "listener"]:
            if listener.provisioning == "PENDING_CREATE" or listener.body["protocol"] not in ("TCP", "HTTPS"):
                continue
            body = state.balanced[listener.balancer_id].body
            pool = next(iter(children(state, "pool", listener_id=listener.id)), None)
            members = children(state, "member", pool_id=pool.id) if pool else []
            backends = tuple(
                Backend(
                    m.id,
                    str(m.body["address"]),
                    int(m.body["protocol_port"]),
                    str(m.body["monitor_address"] or m.body["address"]),
                    int(m.body["monitor_port"] or m.body["protocol_port"]),
                    int(m.body["weight"]),
                    usable=operating_status(state, m) in ("ONLINE", "NO_MONITOR"),
                )
                for m in members
                if m.provisioning not in ("PENDING_CREATE", "PENDING_DELETE")
            )
            check = _check(cloud, pool.id) if pool else None
            vip, port = str(body["vip_address"]), int(listener.body["protocol_port"])
            found[listener.id] = Frontend(listener.id, vip, port, backends, check)
            for address in _outside(cloud, body["vip_port_id"]):
                key = f"{listener.id}@{address}"
                # the members are checked once, by the listener on the VIP
                found[key] = Frontend(key, address, port, backends, None)
        return found


def _outside(cloud: Levers, port_id: str) -> list[str]:
    """The floating IPs that lead to a port."""
    floating = cloud.state.network["floatingip"].values()
    return [str(each["floating_ip_address"]) for each in floating if each["port_id"] == port_id]


def _check(cloud: Levers, pool_id: str) -> Check | None:
    monitor = monitor_of(cloud.state, pool_id)
    if monitor is None:
        return None
    body = monitor.body
    return Check(
        kind=str(body["type"]),
        delay=float(body["delay"]),
        timeout=float(body["timeout"]),
        path=str(body["url_path"] or "/"),
        expected=str(body["expected_codes"] or "200"),
    )


class BalancerRunner:
    """Keeps one proxy and one checker per listener in step with the cloud."""

    def __init__(self, cloud: Levers) -> None:
        self._cloud = cloud
        self._wanted: dict[str, Frontend] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._turn: dict[str, int] = {}
        self._deaf: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Begin to follow the cloud."""
        self._spawn(self._follow())

    async def stop(self) -> None:
        """Close every listener and every connection."""
        self._closing.set()
        for server in self._servers.values():
            server.close()
        tasks = [*self._tasks, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._servers.clear()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _follow(self) -> None:
        while not self._closing.is_set():
            self._wanted = observe_frontends(self._cloud)
            for gone in self._servers.keys() - self._wanted.keys():
                self._servers.pop(gone).close()
            for frontend in self._wanted.values():
                if frontend.id not in self._servers:
                    await self._listen(frontend)
            await self._pause(LOOK_EVERY)

    async def _listen(self, frontend: Frontend) -> None:
        try:
            server = await asyncio.start_server(
                lambda reader, writer: self._accept(frontend.id, reader, writer),
                frontend.address,
                frontend.port,
            )
        except OSError as error:
            if frontend.id not in self._deaf:
                LOG.warning("Cannot listen on a VIP address=%s:%s error=%s", frontend.address, frontend.port, error)
            self._deaf.add(frontend.id)
            return
        self._deaf.discard(frontend.id)
        self._servers[frontend.id] = server
        self._spawn(self._watch(frontend.id))

    def _accept(self, listener_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._proxy(listener_id, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def _order(self, listener_id: str) -> list[Backend]:
        frontend = self._wanted.get(listener_id)
        usable = [b for b in frontend.backends if b.usable and b.weight > 0] if frontend else []
        if not usable:
            return []
        turn = self._turn[listener_id] = self._turn.get(listener_id, -1) + 1
        return [usable[(turn + step) % len(usable)] for step in range(len(usable))]

    async def _proxy(self, listener_id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for backend in self._order(listener_id):
                try:
                    up = await asyncio.wait_for(asyncio.open_connection(backend.address, backend.port), CONNECT_TIMEOUT)
                except (OSError, TimeoutError):
                    continue
                await _pump_both(reader, writer, *up)
                return
        finally:
            writer.close()

    async def _watch(self, listener_id: str) -> None:
        while listener_id in self._servers and not self._closing.is_set():
            frontend = self._wanted.get(listener_id)
            check = frontend.check if frontend else None
            if frontend and check:
                verdicts = await asyncio.gather(*(probe(backend, check) for backend in frontend.backends))
                for backend, healthy in zip(frontend.backends, verdicts, strict=True):
                    with suppress(KeyError):
                        self._cloud.set_member_health(backend.id, "ONLINE" if healthy else "ERROR")
            await self._pause(check.delay if check else LOOK_EVERY)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


async def _pump_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    try:
        await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
    finally:
        up_writer.close()


async def probe(backend: Backend, check: Check) -> bool:
    """One health check: a TCP connection, or a GET that answers with an expected status."""
    with suppress(OSError, TimeoutError, ValueError):
        return await asyncio.wait_for(_ask(backend, check), check.timeout)
    return False


async def _ask(backend: Backend, check: Check) -> bool:
    reader, writer = await asyncio.open_connection(
        backend.check_address, backend.check_port, ssl=_unverified() if check.kind in ("HTTPS", "TLS-HELLO") else None
    )
    try:
        if check.kind not in ("HTTP", "HTTPS"):
            return True
        writer.write(f"GET {check.path} HTTP/1.0\r\nHost: {backend.check_address}\r\n\r\n".encode())
        await writer.drain()
        status = (await reader.readline()).split()[1].decode()
        return status in _expected(check.expected)
    except IndexError:
        return False
    finally:
        writer.close()


def _expected(text: str) -> set[str]:
    codes: set[str] = set()
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        codes |= {str(code) for code in range(int(low), int(high or low) + 1)}
    return codes


def _unverified() -> ssl.SSLContext:
    # A health monitor knows no CA: Octavia's does not verify either.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
