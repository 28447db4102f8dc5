"""The health check of a container or a unit: exit code and what it prints."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from slipway_chassis.probe import main


@contextmanager
def answering(status: int | None) -> Iterator[int]:
    """A service whose /readyz answers so, or with no HTTP at all; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status is None:
                self.wfile.write(b"SSH-2.0\r\n\r\n")
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [(200, 0, "/readyz"), (503, 1, "/readyz"), (None, 1, "it does not answer")],
    ids=["ready", "not ready", "something else listens there"],
)
def test_it_says_what_the_service_says_whatever_proxy_is_named(
    status: int | None, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(status) as port:
        ended = main(["healer"], {"SLIPWAY_HEALER_HTTP_PORT": str(port), "SLIPWAY_HEALER_HTTP_HOST": "0.0.0.0"})
    assert (ended, says in capsys.readouterr().out) == (code, True)


def test_a_service_that_is_not_there_is_not_ready(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["healer"], {"SLIPWAY_HEALER_HTTP_PORT": "1"}) == 1
    assert "it does not answer" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["healer"]], ids=["no service", "no port"])
def test_without_a_port_nothing_is_asked(arguments: list[str]) -> None:
    assert main(arguments, {}) == 2
