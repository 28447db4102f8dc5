"""The tables of releases of all regions."""

from pathlib import Path

from slipway_api.ports import ReleaseTable
from slipway_chassis.regions import Region
from slipway_chassis.releases import load_releases


class ReleaseFiles:
    """Reads a region's file once, as the region's own services do: none offers what the others do not know yet."""

    def __init__(self) -> None:
        self._read: dict[Path, ReleaseTable] = {}

    def of(self, region: Region) -> ReleaseTable:
        """See ports.Releases."""
        path = region.releases_file
        if path not in self._read:
            self._read[path] = ReleaseTable(load_releases(path).names)
        return self._read[path]
