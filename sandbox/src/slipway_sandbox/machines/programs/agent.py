"""The node agent as a program of its host: fetched and checked as its unit says; then its own code, driven here."""

import asyncio
import hashlib
import json
import posixpath
import random
import ssl
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from slipway_node_agent.config import BOOTSTRAP_PATH, AgentConfig
from slipway_node_agent.effects import (
    Answer,
    Call,
    CallFailed,
    Doing,
    Effect,
    Execute,
    Executed,
    Fetch,
    Fetched,
    Probe,
    ProbeAnswer,
    Reply,
    Unpack,
    Wait,
)
from slipway_node_agent.observations import observe_loop
from slipway_node_agent.plans import plan_loop
from slipway_sandbox.machines.loopback import REASONS, is_local
from slipway_sandbox.machines.packages import is_archive, unpack
from slipway_sandbox.machines.process import Process, Program
from slipway_sandbox.machines.tls import client_context

_FAILURES = (aiohttp.ClientError, ssl.SSLError, OSError, TimeoutError, ValueError)

T = TypeVar("T")
RunCommand = Callable[[tuple[str, ...]], Executed]


class Agent(Program):
    """The agent's unit: its installer (ExecStartPre), then its loops."""

    def __init__(self, process: Process, run_command: RunCommand) -> None:
        super().__init__(process)
        self._run_command = run_command
        self._fetch_url = fetch_url_of(process.prepare)

    async def run(self) -> None:
        if self._fetch_url is not None:
            await self._install(self._fetch_url)
        config = AgentConfig(random=random.Random(self.world.random.random()))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drive(plan_loop(self.host, config)))
            group.create_task(self._drive(observe_loop(self.host, config)))

    async def _install(self, url: str) -> None:
        """As the installer in user data does it: until it succeeds, saying on the console what stands in the way."""
        target = self.process.argv[-1]
        bootstrap = json.loads(self.process.file(BOOTSTRAP_PATH, "cannot install the agent"))
        wanted, authority = bootstrap["program_sha256"], bootstrap["ca_pem"]
        pause = 1.0
        while self.host.digest(target) != wanted:
            try:
                self._refuse_partition()
                context = client_context(authority, None, None)
                async with self.world.http.get(url, ssl=context, timeout=aiohttp.ClientTimeout(total=30)) as answer:
                    answer.raise_for_status()
                    program = await answer.read()
                digest = hashlib.sha256(program).hexdigest()
                if digest != wanted:
                    raise ValueError(f"its SHA-256 is {digest}, expected {wanted}")
                self.host.disk.install(target, digest, 0o755, url)
                self.process.print(f"slipway: agent installed from {url}")
            except _FAILURES as error:
                self.process.print(f"slipway: cannot reach {url}: {error}; again in {pause:g} s")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 30.0)

    async def _drive(self, loop: Doing[object]) -> None:
        answer: Answer = None
        while True:
            answer = await self._perform(loop.send(answer))

    async def _perform(self, effect: Effect) -> Answer:
        if self.host.faults.slow_by:
            await asyncio.sleep(self.host.faults.slow_by)
        if isinstance(effect, Wait):
            await asyncio.sleep(effect.seconds / self.world.pace.agent_speed)
            return None
        if isinstance(effect, Execute):
            await asyncio.sleep(self.world.pace.command)
            return self._run_command(effect.argv)
        if isinstance(effect, Call):
            return await self._call(effect)
        if isinstance(effect, Probe):
            return await self._probe(effect)
        if isinstance(effect, Unpack):
            return unpack(self.host.disk, effect)
        return await self._fetch(effect)

    async def _call(self, effect: Call) -> Reply | CallFailed:
        host = urlsplit(effect.origin).hostname or ""
        own = effect.base == "etcd"
        if own and self.host.loopback.serves(effect.url):
            return self.host.loopback.call(effect, self.host.disk, self.host.now())

        async def send() -> Reply | CallFailed:
            if not own:
                self._refuse_partition()
            context = self._context(effect)
            timeout = aiohttp.ClientTimeout(total=effect.timeout)
            url = effect.url.replace(host, self.host.address, 1) if own else effect.url
            async with self.world.http.request(
                effect.method,
                url,
                json=effect.body,
                ssl=context,
                timeout=timeout,
                allow_redirects=False,
                server_hostname=host,
            ) as answer:
                content = await answer.read()
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Reply(answer.status, _object(content), headers)

        return await _or_failed(send, f"cannot reach {effect.origin}: ", effect.timeout)

    async def _probe(self, effect: Probe) -> ProbeAnswer:
        host = urlsplit(effect.url).hostname or ""
        local = is_local(host)
        if local and (self.world.binaries is None or self.host.loopback.serves(effect.url)):
            return self.host.loopback.probe(effect, self.host.disk, self.host.now())

        async def send() -> CallFailed | Reply:
            context = self._context(effect) if effect.url.startswith("https:") else False
            timeout = aiohttp.ClientTimeout(total=effect.timeout)
            # A real program listens at the machine's address for what is said to 127.0.0.1, and is verified as that.
            url = effect.url.replace(host, self.host.address, 1) if local else effect.url
            async with self.world.http.get(
                url, ssl=context, timeout=timeout, allow_redirects=False, server_hostname=host
            ) as answer:
                await answer.read()
                return Reply(answer.status)

        answer = await _or_failed(send, "", effect.timeout)
        if isinstance(answer, CallFailed):
            return ProbeAnswer(None, answer.message)
        return ProbeAnswer(answer.status, f"{answer.status} {REASONS.get(answer.status, '')}".strip())

    async def _fetch(self, effect: Fetch) -> Fetched | CallFailed:
        async def send() -> Fetched | CallFailed:
            self._refuse_partition()
            timeout = aiohttp.ClientTimeout(total=effect.timeout, sock_read=30.0)
            digest, kept = hashlib.sha256(), b""
            async with self.world.http.get(effect.url, timeout=timeout) as answer:
                if answer.status >= 400:
                    return CallFailed(f"the mirror answered {answer.status} {answer.reason}")
                async for block in answer.content.iter_chunked(1 << 20):
                    digest.update(block)
                    kept += block if is_archive(effect.path) else b""
            if digest.hexdigest() == effect.sha256:
                self.host.disk.install(effect.path, effect.sha256, effect.mode, effect.url, kept or None)
            return Fetched(digest.hexdigest())

        return await _or_failed(send, "", effect.timeout)

    def _context(self, effect: Call | Probe) -> ssl.SSLContext:
        """From files of the host, strictly verified. Raises OSError for a file that is not there."""
        texts = [self._text(path) for path in (effect.ca_path, effect.cert_path, effect.key_path)]
        if texts[0] is None:
            return ssl.create_default_context()
        return client_context(texts[0], texts[1], texts[2])

    def _text(self, path: str | None) -> str | None:
        if path is None:
            return None
        text = self.host.read_file(path)
        if text is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        return text

    def _refuse_partition(self) -> None:
        if self.host.faults.partitioned:
            raise ConnectionError(110, "Connection timed out")


def fetch_url_of(commands: tuple[tuple[str, ...], ...]) -> str | None:
    """The URL that a unit's ExecStartPre installs the agent from."""
    for argv in commands:
        for word in argv:
            if word.startswith(("https://", "http://")):
                return word
    return None


def is_agent(argv: tuple[str, ...]) -> bool:
    """Whether a command line runs the agent's program."""
    return posixpath.basename(argv[-1]) == "agent.pyz"


async def _or_failed(send: Callable[[], Awaitable[T]], prefix: str, timeout: float) -> T | CallFailed:
    try:
        return await send()
    except TimeoutError:
        return CallFailed(f"{prefix}no answer within {timeout:g} s")
    except aiohttp.ClientConnectorCertificateError as error:
        return CallFailed(f"{prefix}the server's certificate is not accepted: {error.certificate_error}")
    except aiohttp.ClientConnectorError as error:
        return CallFailed(f"{prefix}{error.os_error.strerror or error.os_error}")
    except _FAILURES as error:
        return CallFailed(f"{prefix}{type(error).__name__} {error}")


def _object(content: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
