"""Child processes of one platform: started, watched, killed, stopped; their output in files."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class ProcessFailedError(RuntimeError):
    """A process ended by itself, or did not become ready; carries the end of its log."""


@dataclass
class Process:
    """One program that runs until it is stopped."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    cwd: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it in a process group of its own."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  one call into libc, no lock is taken
            )

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended, if it did."""
        return None if self._process is None else self._process.poll()

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing more, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on where it was."""
        self._signal(signal.SIGCONT)

    @property
    def is_paused(self) -> bool:
        """Whether it stands still, by `pause` or by itself."""
        return self.pid is not None and _state_of(self.pid)[0] == "T"

    def request_stop(self) -> None:
        """Ask it to stop gracefully, without waiting; a paused one goes on for that."""
        self._signal(signal.SIGTERM)
        self.resume()

    def stop(self, within: float = 20.0) -> None:
        """Stop it gracefully; after the time limit, kill it."""
        self.request_stop()
        if self._process is None:
            return
        try:
            self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            self.kill()

    def wait(self, within: float) -> int:
        """Wait for it to end by itself; TimeoutError when it does not."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=within)
        except subprocess.TimeoutExpired as late:
            raise TimeoutError(f"{self.name} still runs after {within:.0f} s") from late

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def require_running(self) -> None:
        """ProcessFailedError with the end of the log when it has ended."""
        if not self.is_running:
            raise ProcessFailedError(f"{self.name} ended with code {self.exit_code}:\n{self.tail()}")

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, number)


def children_of(parent: int) -> list[int]:
    """The process ids of the children that a process has now (Linux)."""
    numbers = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [each for each in numbers if _state_of(each)[1:] == (str(parent),)]


def _state_of(pid: int) -> tuple[str, ...]:
    """State and parent of a process (proc_pid_stat(5)); nothing when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ("",)
    return tuple(text.rpartition(")")[2].split()[:2])


def _die_with_parent() -> None:
    """On Linux a child of a killed launcher gets SIGTERM, so that nothing is left running."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass(frozen=True)
class ReadyCheck:
    """A condition on a process, such as: its /readyz answers 200."""

    process: Process
    what: str
    holds: Callable[[], bool]


def wait_until(checks: Sequence[ReadyCheck], within: float) -> None:
    """Wait until every check holds; ProcessFailedError names the first that does not, with its log."""
    deadline = time.monotonic() + within
    for check in checks:
        while not check.holds():
            check.process.require_running()
            if time.monotonic() > deadline:
                raise ProcessFailedError(f"{check.process.name} is not {check.what}:\n{check.process.tail()}")
            time.sleep(0.05)
