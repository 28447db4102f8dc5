"""A PostgreSQL of our own, from the distribution's programs: it can be killed, and set back to a copy of its data."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from slipway_platform.layout import free_port
from slipway_platform.processes import Process, ReadyCheck, children_of, wait_until

ANSWERS_WITHIN = 60.0
MISSING = "there is no PostgreSQL server here: install the package postgresql"


def postgres_programs() -> Path | None:
    """The folder with initdb, postgres and pg_isready of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class PrivatePostgres:
    """One PostgreSQL on a free port, its data in a folder; with further lines of postgresql.conf.

    PostgreSQL refuses to run as root: then it runs as the user postgres, who must be able to reach the folder
    (`a_private_postgres` makes such a one). With `synchronous_commit = off` and `wal_writer_delay = 10s` a kill loses
    the transactions of the last seconds, though they were confirmed.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        programs = postgres_programs()
        if programs is None:
            raise FileNotFoundError(MISSING)
        self.port = free_port()
        self._folder = folder
        self._data = folder / "data"
        self._programs = programs
        self._as_user = _as_user(folder)
        self._make(settings)
        command = [*self._as_user, str(programs / "postgres"), "-D", str(self._data)]
        self.process = Process("postgresql", command, {}, folder / "output", folder)

    @property
    def url(self) -> str:
        """The database that is always there, as its owner; the same after each start."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it (again) and wait until it answers; ProcessFailedError says what is wrong."""
        self.process.start()
        wait_until([ReadyCheck(self.process, "answering", self._answers)], ANSWERS_WITHIN)

    def kill(self) -> None:
        """SIGKILL to all of its processes, as a power cut would: what is not on disk yet is lost.

        Each of its processes leads a group of its own, so that the postmaster alone would leave them time to write.
        """
        if self.process.pid is None:
            return
        self.process.pause()
        for child in children_of(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self.process.kill()

    def stop(self) -> None:
        """Stop it gracefully, ending the connections that are open (a fast shutdown)."""
        if self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGINT)
        self.process.stop()

    def backup(self, name: str = "backup") -> None:
        """Keep a copy of the data under a name. RuntimeError while it runs: the copy would be torn."""
        self._require_stopped()
        self._copy(self._data, self._folder / f"kept-{name}")

    def restore(self, name: str = "backup") -> None:
        """Go back to a kept copy; what was committed later is gone. RuntimeError while it runs."""
        self._require_stopped()
        kept = self._folder / f"kept-{name}"
        if not kept.is_dir():
            raise FileNotFoundError(f"no backup was kept under the name {name}")
        self._copy(kept, self._data)

    def _copy(self, source: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)  # keeps owners and modes

    def _require_stopped(self) -> None:
        if self.process.is_running:
            raise RuntimeError("the data can be copied only while PostgreSQL is stopped")

    def _make(self, settings: Sequence[str]) -> None:
        initdb = [*self._as_user, str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres"]
        subprocess.run([*initdb, "-A", "trust", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=self._folder)
        # a killed process loses nothing that reached the kernel, so that waiting for the disk shows nothing
        place = [f"port = {self.port}", "listen_addresses = '127.0.0.1'", "unix_socket_directories = ''", "fsync = off"]
        with (self._data / "postgresql.conf").open("a") as configuration:
            configuration.write("\n".join([*place, *settings]) + "\n")

    def _answers(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


@contextmanager
def a_private_postgres(settings: Sequence[str] = ()) -> Iterator[PrivatePostgres]:
    """One that runs, in a folder of its own that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="slipway-postgresql-", ignore_cleanup_errors=True) as folder:
        server = PrivatePostgres(Path(folder), settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _as_user(folder: Path) -> list[str]:
    """What goes before the programs; as root the folder is given to the user postgres."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    os.chown(folder, user.pw_uid, user.pw_gid)
    # a change of the user forgets which signal the parent's death sends
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=TERM"]
