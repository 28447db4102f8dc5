"""What the api needs of the outside, and how each of it fails."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from slipway_api.domain.offer import Allowance, Flavor, Image, Network
from slipway_api.domain.people import Caller
from slipway_chassis.regions import Region
from slipway_contracts.signing import SignedCredential, SigningRequest


class Identity(Protocol):
    """Keystone, asked about a token by the token itself."""

    async def validate(self, region: Region, token: str) -> Caller:
        """Who holds the token, in which project.

        Problem token_invalid or token_expired: Keystone does not accept it. Problem project_scope_missing or
        persona_insufficient: it is valid, and of no use here. Problem identity_unavailable: nobody can tell now.
        """
        ...


class CloudCatalogue(Protocol):
    """What a caller sees of her cloud, read with her own token.

    Problem token_invalid: the cloud does not accept the token any more. Problem cloud_unavailable: the cloud does not
    answer, or not in a way that can be understood; an answer that is not understood is never "nothing".
    """

    async def flavors(self, caller: Caller, region: Region) -> Sequence[Flavor]:
        """All flavors that the caller may use."""
        ...

    async def images(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Image]:
        """The images of this id or name that the caller sees."""
        ...

    async def networks(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Network]:
        """The networks of this id or name that the caller sees, with their subnets' ranges."""
        ...

    async def zones(self, caller: Caller, region: Region) -> Collection[str]:
        """The availability zones that take servers now."""
        ...

    async def quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance]:
        """What the project may use of servers and networks, by resource; what the caller may not know is absent."""
        ...

    async def volume_quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance] | None:
        """What the project may use of volumes, by Cinder's names: volumes, gigabytes, per_volume_gigabytes, and the
        first two with _<type> after them. What the caller may not know is absent; None: there is no block storage.
        """
        ...


class Signer(Protocol):
    """The region's provisioner, which signs public keys (contracts: signing)."""

    async def sign(self, region: Region, cluster_id: str, request: SigningRequest) -> SignedCredential:
        """A certificate for the public key.

        Problem not_available_yet: keys or endpoint do not exist yet. Problem invalid_csr: the request cannot be
        signed. Problem signing_unavailable: the provisioner does not answer, or refuses us.
        """
        ...


@dataclass(frozen=True)
class ReleaseTable:
    """The Kubernetes releases that a region offers."""

    releases: tuple[str, ...]


class Releases(Protocol):
    """What the regions' releases files say."""

    def of(self, region: Region) -> ReleaseTable:
        """The releases of the region. ValueError: the file cannot be read; it says which and why."""
        ...
