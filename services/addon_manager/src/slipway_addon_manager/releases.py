"""The images of each release, from the region's table of releases."""

from collections.abc import Mapping
from dataclasses import dataclass

from slipway_chassis.errors import GiveUp
from slipway_chassis.releases import Releases
from slipway_contracts.values import Mover


@dataclass(frozen=True)
class RegionImages:
    """See reconciler.ReleaseImages."""

    table: Releases

    def images(self, release: str) -> Mapping[str, str]:
        """The release's images by key; GiveUp UnknownRelease names the releases that there are."""
        try:
            return self.table.named(release).images
        except LookupError as error:
            raise GiveUp("UnknownRelease", str(error.args[0]), whose_move=Mover.OPERATOR) from error
