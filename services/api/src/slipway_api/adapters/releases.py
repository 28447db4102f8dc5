"""The tables of releases of all regions."""

from pathlib import Path

from slipway_api.ports import ReleaseTable
from slipway_chassis.regions import Region
from slipway_chassis.releases import load_releases


class ReleaseFiles:
    """Reads a region's file again when it has changed."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[int, ReleaseTable]] = {}

    def of(self, region: Region) -> ReleaseTable:
        """See ports.Releases."""
        path = region.releases_file
        try:
            changed = path.stat().st_mtime_ns
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
        known = self._read.get(path)
        if known is None or known[0] != changed:
            known = (changed, ReleaseTable(load_releases(path).names))
            self._read[path] = known
        return known[1]
