"""The program that nodes run, and the user data that brings it there."""

from __future__ import annotations

import ast
import hashlib
import http.server
import io
import json
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import slipway_node_agent
from slipway_node_agent.build import NOT_FOR_NODES, build_program, digest_program
from slipway_node_agent.cloud_config import INSTALLER, cloud_config

PACKAGE = Path(slipway_node_agent.__file__).parent
SOURCES = sorted(PACKAGE.glob("*.py"))


def imported(source: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(source.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_sources_are_python_3_9_and_standard_library_only(source: Path) -> None:
    ast.parse(source.read_text(), feature_version=(3, 9))
    foreign = {name.partition(".")[0] for name in imported(source)} - sys.stdlib_module_names - {"slipway_node_agent"}
    assert not foreign


@pytest.mark.parametrize("source", [path for path in SOURCES if path.name not in NOT_FOR_NODES], ids=lambda p: p.name)
def test_what_nodes_run_does_not_need_what_they_do_not_get(source: Path) -> None:
    assert not {f"slipway_node_agent.{name[:-3]}" for name in NOT_FOR_NODES} & imported(source)


def test_the_program_is_small_the_same_everywhere_and_holds_only_the_agent(tmp_path: Path) -> None:
    program = build_program()
    assert len(program) < 200_000
    with zipfile.ZipFile(io.BytesIO(program)) as archive:
        names = set(archive.namelist())
    expected = {f"slipway_node_agent/{path.name}" for path in SOURCES if path.name not in NOT_FOR_NODES}
    assert names == {"__main__.py"} | expected
    out = tmp_path / "agent.pyz"
    made = subprocess.run(
        [sys.executable, "-m", "slipway_node_agent.build", str(out)], capture_output=True, text=True, check=True
    )
    assert out.read_bytes() == program
    assert made.stdout.strip() == digest_program(program)


def test_the_program_runs_alone(tmp_path: Path) -> None:
    out = tmp_path / "agent.pyz"
    out.write_bytes(build_program())
    said = subprocess.run(
        [sys.executable, "-I", "-S", str(out), "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == slipway_node_agent.__version__


def test_user_data_is_one_readable_document() -> None:
    bootstrap = json.dumps({"url": "https://agents.example", "token": "t"})
    text = cloud_config(bootstrap, "https://agents.example/v1/agent/program")
    first, _, document = text.partition("\n")
    assert first == "#cloud-config"
    config = json.loads(document)
    files = {entry["path"]: entry for entry in config["write_files"]}
    assert files["/etc/slipway/agent.json"]["content"] == bootstrap
    assert files["/etc/slipway/agent.json"]["permissions"] == "0600"
    unit = files["/etc/systemd/system/slipway-agent.service"]["content"]
    assert "Restart=always" in unit
    assert "https://agents.example/v1/agent/program" in unit
    assert ["systemctl", "start", "--no-block", "slipway-agent.service"] in config["runcmd"]
    assert len(text) < 16_000, "Nova takes 64 kB of base64"
    ast.parse(INSTALLER, feature_version=(3, 9))


@pytest.mark.parametrize("url", ["ftp://x/y", "https://x/y z", "https://x/'y'", "https://x/%i", "/path"])
def test_an_url_that_breaks_the_unit_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="plain http"):
        cloud_config("{}", url)


@contextmanager
def serving(port: int, answers: list[bytes]) -> Iterator[None]:
    """Serves the answers one after the other, the last one for ever."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def test_the_installer_says_why_it_waits_and_never_takes_another_program(tmp_path: Path) -> None:
    program = b"print('agent')\n"
    (tmp_path / "install.py").write_text(INSTALLER)
    bootstrap = {"ca_pem": "", "program_sha256": hashlib.sha256(program).hexdigest(), "token": "hidden-token"}
    (tmp_path / "agent.json").write_text(json.dumps(bootstrap))
    target = tmp_path / "lib" / "agent.pyz"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1/agent/program"
    command = [sys.executable, str(tmp_path / "install.py"), url, str(target), str(tmp_path / "agent.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as installer:
        assert installer.stdout is not None
        try:
            first = installer.stdout.readline()
            assert first.startswith(f"slipway: cannot reach {url}: ")
            with serving(port, [b"another program", program]):
                rest = installer.stdout.read()
                assert installer.wait(30) == 0
        finally:
            installer.kill()
    assert "slipway: cannot install" in rest
    assert "agent installed" in rest
    assert "hidden-token" not in first + rest
    assert target.read_bytes() == program
    again = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert again.stdout == "", "what is there is not fetched"
