"""What of an archive is taken, and how: files and folders only, all checked before the first of them is written.

The archive is the one that the plan's digest names; what is checked here is that a mistake in it, or in who made the
table of releases, stays inside of one folder. tarfile's own filters are not in every Python 3.9.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from slipway_node_agent.effects import Unpack, Unpacked
from slipway_node_agent.transport import Locate, describe

MOST_BYTES = 2 * 1024**3
MOST_FILES = 10_000
"""containerd is 100 MB in 5 files, the CNI plugins are 80 MB in 20."""

BAD_ARCHIVE = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError)
"""What reading an archive raises that is none, or not whole."""


class ArchiveRefused(Exception):
    """The archive has something in it that is not taken; the message says what."""


def decide_files(archive: tarfile.TarFile) -> list[tuple[str, tarfile.TarInfo]]:
    """The archive's files by their paths below the folder, in its order. Raises ArchiveRefused if one is not taken."""
    files: dict[str, tarfile.TarInfo] = {}
    size = 0
    for member in archive:
        path = _path_inside(member.name)
        if member.isdir():
            continue
        if not member.isreg():
            raise ArchiveRefused(f"{member.name!r} is neither a file nor a folder")
        if path in files or path == ".":
            raise ArchiveRefused(f"{member.name!r} is in it twice, or has no name")
        files[path] = member
        size += member.size
        if size > MOST_BYTES or len(files) > MOST_FILES:
            raise ArchiveRefused(f"it has more than {MOST_FILES} files or {MOST_BYTES} bytes")
    return list(files.items())


def mode_of(member: tarfile.TarInfo) -> int:
    """A program or a file, root's to change; never set-user-id, whatever the archive says."""
    return 0o755 if member.mode & 0o100 else 0o644


def open_archive(source: IO[bytes]) -> tarfile.TarFile:
    """A tar.gz. Raises tarfile.ReadError when it is none."""
    return tarfile.open(fileobj=source, mode="r:gz")


def perform_unpack(effect: Unpack, locate: Locate) -> Unpacked:
    """Every file appears complete or not at all, those of `last` when all others are there."""
    folder = Path(os.path.realpath(locate(effect.folder)))
    try:
        with locate(effect.path).open("rb") as source, open_archive(source) as archive:
            _write(archive, folder, effect.last)
    except ArchiveRefused as refusal:
        return Unpacked(str(refusal))
    except BAD_ARCHIVE as error:
        return Unpacked(f"it is no whole tar.gz: {error}")
    except OSError as error:
        return Unpacked(f"the machine refused: {describe(error, 0.0)}", code="HostRefused")
    return Unpacked()


def _write(archive: tarfile.TarFile, folder: Path, last: Sequence[str]) -> None:
    files = decide_files(archive)
    targets = {path: folder / path for path, _ in files}
    for path, target in targets.items():
        parent = Path(os.path.realpath(target.parent))
        if parent != folder and folder not in parent.parents:
            raise ArchiveRefused(f"{path!r} would lie outside of {folder}, by a link that is on the machine")
    drafts = {path: target.with_name(f".{target.name}.slipway-part") for path, target in targets.items()}
    try:
        for path, member in files:
            targets[path].parent.mkdir(parents=True, exist_ok=True)
            _write_draft(archive, member, drafts[path])
        for path in sorted(targets, key=lambda path: PurePosixPath(path).name in last):
            drafts[path].replace(targets[path])
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _write_draft(archive: tarfile.TarFile, member: tarfile.TarInfo, draft: Path) -> None:
    draft.unlink(missing_ok=True)
    content = archive.extractfile(member)
    assert content is not None, "decide_files lets only regular files pass"
    with content, os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        os.fchmod(file.fileno(), mode_of(member))
        os.fsync(file.fileno())


def _path_inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ArchiveRefused(f"{name!r} is no path inside of the folder")
    return str(path)
