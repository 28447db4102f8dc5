"""Archives of programs on an emulated machine: checked as the agent checks them; of their files only digests stay."""

import hashlib
import io

from slipway_node_agent.archives import BAD_ARCHIVE, ArchiveRefused, decide_files, mode_of, open_archive
from slipway_node_agent.config import PACKAGES_FOLDER
from slipway_node_agent.effects import Unpack, Unpacked
from slipway_sandbox.machines.files import Disk


def is_archive(path: str) -> bool:
    """Whether a file that is fetched to this path is to be unpacked."""
    return path.startswith(f"{PACKAGES_FOLDER}/")


def unpack(disk: Disk, effect: Unpack) -> Unpacked:
    """The answer to the agent's effect."""
    found = disk.find(effect.path)
    if found is None:
        return Unpacked(f"the machine refused: No such file or directory: {effect.path}", code="HostRefused")
    try:
        with open_archive(io.BytesIO(found.archive or b"")) as archive:
            for path, member in decide_files(archive):
                content = archive.extractfile(member)
                assert content is not None, "decide_files lets only regular files pass"
                digest = hashlib.sha256(content.read()).hexdigest()
                disk.install(f"{effect.folder}/{path}", digest, mode_of(member), found.origin)
    except ArchiveRefused as refusal:
        return Unpacked(str(refusal))
    except BAD_ARCHIVE as error:
        return Unpacked(f"it is no whole tar.gz: {error}")
    return Unpacked()
