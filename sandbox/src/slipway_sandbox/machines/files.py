"""The disk of an emulated host: texts, and programs of which only the digest is kept."""

import hashlib
import os
import posixpath
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class File:
    """A file. `content` is None for a program; `origin` is where a program was fetched from.

    Of an archive its bytes are kept, until it is unpacked and removed.
    """

    content: str | None
    mode: int
    digest: str
    origin: str = ""
    archive: bytes | None = None


class Disk:
    """Files by absolute path. It survives reboots; `watch` tells a program that reads a folder when it changed."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._watchers: dict[str, set[Callable[[], None]]] = {}

    def find(self, path: str) -> File | None:
        """The file, or None."""
        return self._files.get(posixpath.normpath(path))

    def text(self, path: str) -> str | None:
        """The file's text; None when there is none, or it is a program."""
        found = self.find(path)
        return found.content if found else None

    def write(self, path: str, content: str, mode: int) -> None:
        """Replaces the file."""
        digest = hashlib.sha256(content.encode()).hexdigest()
        self._put(path, File(content, mode, digest))

    def install(self, path: str, digest: str, mode: int, origin: str, archive: bytes | None = None) -> None:
        """Puts a program there, or an archive."""
        self._put(path, File(None, mode, digest, origin, archive))

    def remove(self, path: str) -> None:
        """Removes the file, if it is there."""
        if self._files.pop(posixpath.normpath(path), None) is not None:
            self._notify(path)

    def set_mode(self, path: str, mode: int) -> None:
        """Changes the permission bits. Raises FileNotFoundError."""
        found = self.find(path)
        if found is None:
            raise FileNotFoundError(2, "No such file or directory", path)
        self._files[posixpath.normpath(path)] = replace(found, mode=mode)

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder with files."""
        return self.find(path) is not None or bool(self.folder(path))

    def folder(self, path: str) -> list[str]:
        """Paths of all files below a folder, in order."""
        prefix = posixpath.normpath(path).rstrip("/") + "/"
        return sorted(name for name in self._files if name.startswith(prefix))

    def destroy(self) -> None:
        """The machine is gone, and nothing of it stays."""
        self._files.clear()

    def watch(self, folder: str, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener whenever a file directly in the folder changes, until the returned function is called."""
        watchers = self._watchers.setdefault(posixpath.normpath(folder), set())
        watchers.add(listener)
        return lambda: watchers.discard(listener)

    def _put(self, path: str, value: File) -> None:
        if not path.startswith("/"):
            raise OSError(22, "Invalid argument: the path is not absolute", path)
        self._files[posixpath.normpath(path)] = value
        self._notify(path)

    def _notify(self, path: str) -> None:
        for listener in tuple(self._watchers.get(posixpath.dirname(posixpath.normpath(path)), ())):
            listener()


class FolderDisk(Disk):
    """A disk whose texts also lie in a private folder of this computer, where real programs read them and write."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        root.mkdir(parents=True, mode=0o700, exist_ok=True)

    def place(self, path: str) -> Path:
        """Where a path of the machine is on this computer; never outside the folder."""
        return self.root / posixpath.normpath("/" + path).lstrip("/")

    def write(self, path: str, content: str, mode: int) -> None:
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        beside.replace(place)
        super().write(path, content, mode)

    def remove(self, path: str) -> None:
        if self.place(path).is_file():
            self.place(path).unlink()
        super().remove(path)

    def set_mode(self, path: str, mode: int) -> None:
        super().set_mode(path, mode)
        if self.place(path).exists():
            self.place(path).chmod(mode)

    def exists(self, path: str) -> bool:
        return super().exists(path) or self.place(path).exists()

    def destroy(self) -> None:
        super().destroy()
        shutil.rmtree(self.root, ignore_errors=True)
