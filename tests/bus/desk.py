"""An operator at work: the command slipway-admin as a process, with a configuration in a folder."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def document(self) -> Any:
        return json.loads(self.output)


@dataclass(frozen=True)
class Operator:
    """Calls the command with this configuration."""

    folder: Path
    configuration: dict[str, Any]

    async def admin(self, *arguments: str) -> Said:
        file = self.folder / "slipway-admin.yaml"
        file.write_text(yaml.safe_dump(self.configuration))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "slipway_admin", "--config", str(file), *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={key: value for key, value in os.environ.items() if not key.startswith("SLIPWAY_")},
        )  # fmt: skip
        output, errors = await asyncio.wait_for(process.communicate(), 60)
        return Said(process.returncode or 0, output.decode(), errors.decode())
