"""Makes the agent's program: one zipapp whose bytes depend on the sources alone.

    python -m slipway_node_agent.build OUT

The digest goes into user data and every replica of the provisioner serves its own copy, so all must make the same
bytes: files are sorted, have no times, and are stored uncompressed (compressors differ between versions).
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

NOT_FOR_NODES = frozenset({"build.py", "cloud_config.py", "testing.py"})

SHEBANG = b"#!/usr/bin/env python3\n"

_ENTRY = b"import sys\n\nfrom slipway_node_agent.__main__ import main\n\nsys.exit(main())\n"
_NO_TIME = (1980, 1, 1, 0, 0, 0)


def build_program() -> bytes:
    """The zipapp: runs with `python3 FILE` on Python 3.9 and newer."""
    package = Path(__file__).parent
    files = {"__main__.py": _ENTRY}
    for source in package.glob("*.py"):
        if source.name not in NOT_FOR_NODES:
            files[f"{package.name}/{source.name}"] = source.read_bytes()
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.create_system = 3  # Unix, wherever it is built
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def digest_program(program: bytes) -> str:
    """What `program_sha256` in the bootstrap must be."""
    return hashlib.sha256(program).hexdigest()


def main() -> int:
    """Writes the program to the path given and prints its SHA-256."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m slipway_node_agent.build OUT\n")
        return 2
    program = build_program()
    Path(sys.argv[1]).write_bytes(program)
    sys.stdout.write(digest_program(program) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
