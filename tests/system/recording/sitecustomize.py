"""Put on PYTHONPATH by the system tests: each program writes down every address that it connects to.

Python raises the audit event `socket.connect` for each connection, whichever library opens it (PEP 578).
"""

import os
import sys
from pathlib import Path
from typing import Any


def _record_connections(folder: Path) -> None:
    program = sys.orig_argv[sys.orig_argv.index("-m") + 1] if "-m" in sys.orig_argv else "other"
    descriptor = os.open(folder / f"{program}.{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    seen: set[str] = set()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "socket.connect" or not isinstance(arguments[1], tuple):
            return
        address = f"{arguments[1][0]}:{arguments[1][1]}"
        if address not in seen:
            seen.add(address)
            os.write(descriptor, f"{address}\n".encode())

    sys.addaudithook(hook)


if "SLIPWAY_TEST_CONNECTIONS" in os.environ:
    _record_connections(Path(os.environ["SLIPWAY_TEST_CONNECTIONS"]))
