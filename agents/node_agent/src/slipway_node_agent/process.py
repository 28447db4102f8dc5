"""Programs run to their end, with a bound on time and on what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from slipway_node_agent.effects import Executed

OUTPUT_LIMIT = 16384
"""Bytes of output that are kept, from the end."""

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_program(argv: Sequence[str], env: Mapping[str, str], timeout: float, stdin: str = "") -> Executed:
    """Runs it in a session of its own and kills all of that at the timeout. A missing program is exit code 127.

    The output goes to a file, not a pipe: a daemon that the program leaves behind may keep it open.
    """
    environment = {"PATH": os.environ.get("PATH", _PATH), "HOME": "/root", "LANG": "C.UTF-8", **env}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as source:
        source.write(stdin.encode())
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(argv), stdin=source, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        except FileNotFoundError:
            return Executed(127, f"{argv[0]}: command not found")
        except OSError as error:
            return Executed(126, f"{argv[0]}: {error.strerror}")
        exit_code = _wait(process, timeout)
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - OUTPUT_LIMIT))
        return Executed(exit_code, output.read().decode(errors="replace"))


def _wait(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
