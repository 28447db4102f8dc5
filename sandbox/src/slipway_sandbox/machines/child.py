"""A real process of an emulated host: its lines go to the host, and it never outlives who started it."""

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

from slipway_sandbox.machines.process import Exited

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_LINE_LIMIT = 2000
_STOPS_WITHIN = 30.0
"""Seconds, as a kubelet gives a static pod; an API server finishes its requests for fifteen of them."""


async def run_child(
    command: Sequence[str],
    cwd: Path,
    say: Callable[[str], None],
    *,
    ready: Callable[[], None] = lambda: None,
    power_is_cut: Callable[[], bool] = lambda: False,
) -> None:
    """Runs the program until it ends, which raises Exited, or until it is cancelled.

    `ready` is called when it says READY=1 as a systemd service does. Cancelled, it may end in order; when
    `power_is_cut` says so it dies on the spot.
    """
    last = ""
    with _notify_socket(ready) as address:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd,
            env={"PATH": os.defpath, "HOME": str(cwd), "NOTIFY_SOCKET": address},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
        try:
            assert process.stdout is not None
            async for line in _lines(process.stdout):
                last = line
                say(line)
            code = await process.wait()
        finally:
            if process.returncode is None:
                await _end(process, at_once=power_is_cut())
    raise Exited(f"ended with exit code {code}: {last}")


def _die_with(parent: int) -> Callable[[], None]:
    def ask() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


async def _end(process: asyncio.subprocess.Process, *, at_once: bool) -> None:
    """Whatever happens meanwhile, a power cut for instance, afterwards it has ended."""
    try:
        if not at_once:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                # Its lines are still taken, or a talkative one would never come to its end.
                await asyncio.wait_for(process.communicate(), _STOPS_WITHIN)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while block := await stream.read(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line[:_LINE_LIMIT].decode(errors="replace")
        rest = rest[:_LINE_LIMIT]


@contextlib.contextmanager
def _notify_socket(ready: Callable[[], None]) -> Iterator[str]:
    """Where a service says that it is ready (sd_notify(3)): an abstract socket, which needs no short path."""
    name = f"slipway-{secrets.token_hex(8)}"
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.setblocking(False)
        listener.bind(f"\0{name}")

        def receive() -> None:
            if b"READY=1" in listener.recv(4096).split(b"\n"):
                ready()

        loop.add_reader(listener, receive)
        try:
            yield f"@{name}"
        finally:
            loop.remove_reader(listener)
