"""All that the REST API works with, in one value."""

from dataclasses import dataclass

from slipway_api.changes import Changes
from slipway_api.clusters import Clusters
from slipway_api.credentials import Credentials
from slipway_api.feed import Feed
from slipway_api.pools import Pools
from slipway_api.ports import Releases
from slipway_api.settings import Settings
from slipway_api.tokens import Gatekeeper
from slipway_chassis.regions import Regions
from slipway_chassis.service import Service


@dataclass(frozen=True)
class Gateway:
    """What the handlers of requests need."""

    service: Service
    settings: Settings
    regions: Regions
    releases: Releases
    gatekeeper: Gatekeeper
    changes: Changes
    clusters: Clusters
    pools: Pools
    credentials: Credentials
    feed: Feed
    auth_urls: dict[str, str]
    """The Keystone of each region, by its name."""
