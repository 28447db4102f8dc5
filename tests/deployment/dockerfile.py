"""Takes the build steps of our Dockerfiles by hand, in a folder, where there is no Docker.

It knows what our Dockerfiles use: ENV, WORKDIR, COPY from the context, RUN of uv. The folder stands for the root.
"""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of one file, in order, line continuations joined."""

    path: Path
    instructions: list[tuple[str, str]]

    def of(self, *names: str) -> list[str]:
        """The arguments of all instructions of these names."""
        return [arguments for name, arguments in self.instructions if name in names]

    @property
    def copied(self) -> list[str]:
        """What comes from the build context."""
        return [each.split()[0] for each in self.of("COPY") if not each.startswith("--from")]


def read_dockerfile(path: Path) -> Dockerfile:
    """Parse the file."""
    joined = re.sub(r"\\\n\s*", "", path.read_text())
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return Dockerfile(path, [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)])


@dataclass
class Build:
    """The first stage of an image, built in a folder."""

    context: Path
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"

    def run(self, dockerfile: Dockerfile) -> None:
        """Take the steps up to the second FROM."""
        stages = 0
        for name, arguments in dockerfile.instructions:
            stages += name == "FROM"
            if stages == 2:
                return
            if name == "ENV":
                self.environment |= dict(word.split("=", 1) for word in shlex.split(arguments))
            elif name == "WORKDIR":
                self.workdir = arguments
                self._inside(arguments).mkdir(parents=True, exist_ok=True)
            elif name == "COPY" and not arguments.startswith("--from"):
                self._copy(*arguments.split())
            elif name == "RUN":
                self._run(arguments)

    def program(self, name: str) -> Path:
        """A program of the finished environment."""
        return self._inside(self.environment["UV_PROJECT_ENVIRONMENT"]) / "bin" / name

    def _inside(self, path: str) -> Path:
        return self.root / (path if path.startswith("/") else f"{self.workdir}/{path}").lstrip("/")

    def _copy(self, *words: str) -> None:
        *sources, target = words
        for source in sources:
            found, to = self.context / source, self._inside(target)
            if target.endswith("/"):
                to = to / found.name
            to.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                ignored = shutil.ignore_patterns("tests", "__pycache__", ".venv", ".slipway")
                shutil.copytree(found, to, dirs_exist_ok=True, ignore=ignored)
            else:
                shutil.copy(found, to)

    def _run(self, command: str) -> None:
        placed = {
            key: str(self._inside(value)) if value.startswith("/") else value for key, value in self.environment.items()
        }
        # Compiling to byte code is most of the time, and says nothing about whether the image works.
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("VIRTUAL_ENV", "UV_", "SLIPWAY_"))
        }
        subprocess.run(
            command,
            shell=True,
            check=True,
            cwd=self._inside(self.workdir),
            env=kept | placed | {"UV_COMPILE_BYTECODE": "0"},
        )
