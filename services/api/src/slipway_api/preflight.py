"""Reads the caller's cloud with her own token: only what a request names."""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from slipway_api.domain.drafts import Chosen, PoolDraft
from slipway_api.domain.offer import Allowance, Offer
from slipway_api.domain.people import Caller
from slipway_api.ports import CloudCatalogue
from slipway_chassis.regions import Region


async def observe_offer(
    catalogue: CloudCatalogue, caller: Caller, region: Region, pools: Sequence[PoolDraft], networks: Collection[Chosen]
) -> Offer:
    """What the cloud offers of what these pools and networks name; all questions are asked at once.

    Flavors are also found by their ids: what a pool has now counts against what it is to have.
    """
    wanted_images = sorted({pool.image.value for pool in pools})
    wanted_networks = sorted({pool.network.value for pool in pools} | {network.value for network in networks})
    flavors, zones, quota, volumes, images, found = await asyncio.gather(
        catalogue.flavors(caller, region),
        catalogue.zones(caller, region),
        catalogue.quota(caller, region),
        _observe_volumes(catalogue, caller, region, pools),
        asyncio.gather(*(catalogue.images(caller, region, name) for name in wanted_images)),
        asyncio.gather(*(catalogue.networks(caller, region, name) for name in wanted_networks)),
    )
    return Offer(
        flavors={each.id: [each] for each in flavors}
        | {
            pool.flavor.value: [each for each in flavors if each.id == pool.flavor.value]
            or [each for each in flavors if each.name == pool.flavor.value]
            for pool in pools
        },
        images=dict(zip(wanted_images, images, strict=True)),
        networks=dict(zip(wanted_networks, found, strict=True)),
        zones=frozenset(zones),
        quota={**quota, **(volumes or {})},
        block_storage=volumes is not None,
    )


async def _observe_volumes(
    catalogue: CloudCatalogue, caller: Caller, region: Region, pools: Sequence[PoolDraft]
) -> Mapping[str, Allowance] | None:
    """Cinder is asked only where a machine boots from a volume: many clouds have none."""
    if all(pool.setup.root_volume is None for pool in pools):
        return {}
    return await catalogue.volume_quota(caller, region)
