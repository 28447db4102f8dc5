"""A traceback in the log names the failure, and shows none of the values at hand when it happened."""

import subprocess
import sys

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
