"""What stands in for the outside: a stateful Keystone, cloud and provisioner, and a region they are in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from slipway_api.domain.offer import Allowance, Flavor, Image, Network
from slipway_api.domain.people import Caller, persona_of
from slipway_api.domain.problems import Problem
from slipway_api.ports import ReleaseTable
from slipway_chassis.clock import Clock
from slipway_chassis.regions import Defaults, NamedNodeSpec, Region
from slipway_contracts.signing import SignedCredential, SigningRequest

REGION = "sandbox"
RELEASES = ("v1.37.2", "v1.36.3")


def a_region(name: str = REGION, **changes: Any) -> Region:
    """A region with defaults for everything."""
    values: dict[str, Any] = {
        "name": name,
        "cloud": name,
        "auth_url": f"http://{name}.example/v3",
        "zones": ("zone-1", "zone-2"),
        "networks": ("192.168.0.0/16",),
        "mirror": "http://mirror.example",
        "releases_file": Path("releases.yaml"),
        "defaults": Defaults(image="debian-12", flavor={"any": "m1.small"}, network="private", release="v1.36.3"),
        "node_specs": (NamedNodeSpec(name="large", flavor="m1.large", description="for builds"),),
        "agent_url": "https://agents.example",
        "observe_url": "https://monitor.example",
        "signing_url": "https://provisioner.example",
    }
    return Region(**{**values, **changes})


class FakeIdentity:
    """A Keystone with people and tokens; it can be away, and tokens can be revoked."""

    def __init__(self, clock: Clock, regions: Sequence[Region]) -> None:
        self._clock = clock
        self._regions = regions
        self._tokens: dict[str, Caller] = {}
        self.away = False
        self.asked = 0

    def issue(
        self,
        user: str = "alice",
        project: str = "shop",
        roles: Sequence[str] = ("member",),
        *,
        lasts: timedelta = timedelta(hours=1),
        region: str = REGION,
    ) -> str:
        """A token for this person; her ids are made of her name."""
        persona = persona_of(list(roles))
        assert persona is not None, "a person without a role gets no token here"
        token = f"token-{user}-{project}-{len(self._tokens)}"
        auth_url = next(each.auth_url for each in self._regions if each.name == region)
        self._tokens[token] = Caller(
            user_id=f"id-of-{user}",
            user_name=user,
            project_id=f"id-of-{project}",
            project_name=project,
            persona=persona,
            expires_at=self._clock.now() + lasts,
            regions=tuple(each.name for each in self._regions if each.auth_url == auth_url),
            token=token,
        )
        return token

    def revoke(self, token: str) -> None:
        """Keystone does not accept the token any more."""
        del self._tokens[token]

    async def validate(self, region: Region, token: str) -> Caller:
        """See ports.Identity."""
        self.asked += 1
        if self.away:
            raise Problem("identity_unavailable", "Keystone does not answer.", headers={"Retry-After": "10"})
        caller = self._tokens.get(token)
        if caller is None or region.name not in caller.regions:
            raise Problem("token_invalid", "Keystone does not accept the token.")
        return caller


@dataclass
class FakeCloud:
    """What every project sees of a cloud; images and networks can belong to one project alone."""

    flavor_list: list[Flavor] = field(
        default_factory=lambda: [
            Flavor("f-small", "m1.small", vcpus=1, ram=2048, disk=20),
            Flavor("f-large", "m1.large", vcpus=4, ram=8192, disk=80),
        ]
    )
    image_list: list[Image] = field(default_factory=lambda: [Image("i-debian", "debian-12")])
    network_list: list[Network] = field(
        default_factory=lambda: [
            Network("n-private", "private", ("10.1.0.0/20",)),
            Network("n-empty", "empty"),
            Network("n-six", "six", ("fd00:77::/64",)),
            Network("n-public", "public", ("10.77.0.0/24",), attachable=False),
        ]
    )
    zone_names: set[str] = field(default_factory=lambda: {"zone-1", "zone-2"})
    allowances: dict[str, Allowance] = field(
        default_factory=lambda: {
            "instances": Allowance(40, 0),
            "cores": Allowance(80, 0),
            "ram": Allowance(200_000, 0),
            "ports": Allowance(500, 1),
            "security_groups": Allowance(10, 1),
            "server_groups": Allowance(10, 0),
            "server_group_members": Allowance(10, 0),
        }
    )
    volume_allowances: dict[str, Allowance] | None = field(
        default_factory=lambda: {
            "volumes": Allowance(40, 0),
            "gigabytes": Allowance(2000, 0),
            "volumes_ssd": Allowance(-1, 0),
            "gigabytes_ssd": Allowance(-1, 0),
            "per_volume_gigabytes": Allowance(-1, 0),
        }
    )
    """None: a cloud without block storage."""
    private_to: dict[str, str] = field(default_factory=dict)
    """Id of an image or network -> the only project that sees it."""
    away: bool = False

    async def flavors(self, caller: Caller, region: Region) -> Sequence[Flavor]:
        """See ports.CloudCatalogue."""
        self._answer()
        return list(self.flavor_list)

    async def images(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Image]:
        """See ports.CloudCatalogue."""
        self._answer()
        return [each for each in self.image_list if name_or_id in (each.id, each.name) and self._sees(caller, each.id)]

    async def networks(self, caller: Caller, region: Region, name_or_id: str) -> Sequence[Network]:
        """See ports.CloudCatalogue."""
        self._answer()
        return [
            each for each in self.network_list if name_or_id in (each.id, each.name) and self._sees(caller, each.id)
        ]

    async def zones(self, caller: Caller, region: Region) -> Collection[str]:
        """See ports.CloudCatalogue."""
        self._answer()
        return set(self.zone_names)

    async def quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance]:
        """See ports.CloudCatalogue."""
        self._answer()
        return dict(self.allowances)

    async def volume_quota(self, caller: Caller, region: Region) -> Mapping[str, Allowance] | None:
        """See ports.CloudCatalogue."""
        self._answer()
        return None if self.volume_allowances is None else dict(self.volume_allowances)

    def set_limit(self, resource: str, limit: int) -> None:
        """Give the project another quota, whichever service it belongs to."""
        volumes = self.volume_allowances or {}
        table = self.allowances if resource in self.allowances else volumes
        table[resource] = replace(table[resource], limit=limit)

    def _sees(self, caller: Caller, resource_id: str) -> bool:
        return self.private_to.get(resource_id) in (None, caller.project_id)

    def _answer(self) -> None:
        if self.away:
            raise Problem("cloud_unavailable", "The cloud does not answer.", headers={"Retry-After": "10"})


class FakeSigner:
    """A provisioner that signs for the clusters whose keys exist, with a CA of its own."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.clusters: set[str] = set()
        self.away = False
        self.signed: list[SigningRequest] = []
        self.expires_at = datetime(2030, 1, 1, tzinfo=UTC)
        """When what it signs from now on ends."""
        self.ca_pem = _certificate("kubernetes", self._key.public_key(), self._key)

    async def sign(self, region: Region, cluster_id: str, request: SigningRequest) -> SignedCredential:
        """See ports.Signer."""
        if self.away:
            raise Problem("signing_unavailable", "The provisioner does not answer.", headers={"Retry-After": "10"})
        if cluster_id not in self.clusters:
            raise Problem("not_available_yet", "The cluster's keys do not exist yet.")
        self.signed.append(request)
        public = x509.load_pem_x509_csr(request.csr_pem.encode()).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey), "tests use elliptic curves"
        return SignedCredential(
            certificate_pem=_certificate(request.user_name or "", public, self._key, self.expires_at),
            ca_pem=self.ca_pem,
            endpoint="https://10.1.0.4:6443",
            expires_at=self.expires_at,
        )


def _certificate(
    name: str,
    public: ec.EllipticCurvePublicKey,
    key: ec.EllipticCurvePrivateKey,
    expires_at: datetime = datetime(2030, 1, 1, tzinfo=UTC),
) -> str:
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")]))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(expires_at)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


class FixedReleases:
    """Every region has the same releases."""

    def of(self, region: Region) -> ReleaseTable:
        """See ports.Releases."""
        return ReleaseTable(RELEASES)
