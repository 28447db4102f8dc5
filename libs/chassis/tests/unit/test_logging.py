"""Logs hold no secrets: a traceback shows none of the values at hand, and libraries do not tell what they carry."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

PROGRAM = """
import logging
import structlog
from slipway_chassis.logging import configure_logging

configure_logging("healer", "tokyo", log_format={log_format!r}, level="info")

def unlock(password):
    held = {{"token": password}}
    raise RuntimeError(f"no door fits a key of {{len(held['token'])}} letters")

try:
    unlock("open-sesame-" + str(1234 * 5678))
except RuntimeError:
    {call}
"""
HIDDEN = f"open-sesame-{1234 * 5678}"


@pytest.mark.parametrize("log_format", ["console", "json"])
@pytest.mark.parametrize(
    "call",
    [
        pytest.param('structlog.get_logger().exception("Failed")', id="ours"),
        pytest.param('logging.getLogger("library").exception("Failed")', id="a library's"),
    ],
)
def test_a_traceback_shows_no_local_variables(log_format: str, call: str) -> None:
    program = PROGRAM.format(log_format=log_format, call=call)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert "RuntimeError: no door fits a key of 19 letters" in ended.stderr
    assert "in unlock" in ended.stderr, "the way to the failure is shown"
    assert HIDDEN not in ended.stderr


ASKING = """
import sys
import httpx
from slipway_chassis.logging import configure_logging

configure_logging("api", "global", log_format="json", level="DEBUG")
answer = httpx.get(sys.argv[1], headers={"X-Auth-Token": sys.argv[2]}, trust_env=False)
assert answer.headers["X-Subject-Token"] == sys.argv[2]
"""


class Keystone(BaseHTTPRequestHandler):
    """Answers with the token that it was asked with, as Keystone does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Subject-Token", self.headers["X-Auth-Token"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Requests are not of interest."""


@pytest.fixture
def keystone() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Keystone) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v3/auth/tokens"
        server.shutdown()
        thread.join()


def test_the_lowest_level_shows_no_users_token(keystone: str) -> None:
    command = [sys.executable, "-c", ASKING, keystone, HIDDEN]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert HIDDEN not in ended.stderr
