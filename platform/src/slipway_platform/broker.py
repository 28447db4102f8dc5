"""A RabbitMQ of our own, from the distribution's programs: it can be killed and started again with what it stored."""

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from slipway_platform.layout import free_port
from slipway_platform.processes import Process, ReadyCheck, wait_until

ANSWERS_WITHIN = 90.0
_WITHOUT_USER_SWITCH = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The wrapper of the distribution insists on its own user."""


def rabbitmq_server() -> Path | None:
    """The server's program, where it is installed."""
    if _WITHOUT_USER_SWITCH.exists():
        return _WITHOUT_USER_SWITCH
    found = shutil.which("rabbitmq-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def amqp_answers(host: str, port: int) -> bool:
    """Whether an AMQP 0-9-1 broker answers the protocol header with connection.start."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


class PrivateBroker:
    """One RabbitMQ on free ports, its data in a folder; with further lines of rabbitmq.conf, and with plugins."""

    def __init__(self, folder: Path, configuration: Sequence[str] = (), plugins: Sequence[str] = ()) -> None:
        program = rabbitmq_server()
        if program is None:
            raise FileNotFoundError("there is no rabbitmq-server here: install the package rabbitmq-server")
        self.port = free_port()
        self._folder = folder
        (folder / "plugins").write_text(f"[{','.join(plugins)}].\n")
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", *configuration]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        self.process = Process("rabbitmq", [str(program)], _environment(folder), folder / "output", folder)

    @property
    def url(self) -> str:
        """Where it answers, the same after each start."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it (again) and wait until it answers; ProcessFailedError says what is wrong."""
        self.process.start()
        wait_until(
            [ReadyCheck(self.process, "answering", lambda: amqp_answers("127.0.0.1", self.port))], ANSWERS_WITHIN
        )

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.process.kill()

    def stop(self) -> None:
        """Stop it gracefully."""
        self.process.stop()

    def forget(self) -> None:
        """Lose the disk: queues, exchanges, bindings and messages are gone. RuntimeError while it runs."""
        if self.process.is_running:
            raise RuntimeError("the data can be removed only while RabbitMQ is stopped")
        shutil.rmtree(self._folder / "data")

    def messages(self) -> dict[str, int]:
        """How many messages lie in each queue of the default virtual host, those that a consumer holds included."""
        rows = self.control("list_queues", "--quiet", "--no-table-headers", "name", "messages").splitlines()
        return {name: int(number) for name, number in (row.split("\t") for row in rows)}

    def control(self, *arguments: str) -> str:
        """What rabbitmqctl says; CalledProcessError when it fails."""
        program = self.process.command[0].replace("rabbitmq-server", "rabbitmqctl")
        environment = {**os.environ, **self.process.environment}
        answer = subprocess.run(
            [program, *arguments], env=environment, cwd=self._folder, check=True, timeout=60, stdout=subprocess.PIPE
        )
        return answer.stdout.decode()


def _environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"slipway-{secrets.token_hex(3)}@localhost",
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
    }
