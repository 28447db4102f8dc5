"""What a caller's cloud offers her, and whether what she asks for can be made of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from slipway_api.domain.drafts import Chosen, PoolDraft
from slipway_api.domain.problems import FieldProblem
from slipway_contracts.api import RootVolume
from slipway_contracts.values import Role


@dataclass(frozen=True)
class Flavor:
    """A size of machine."""

    id: str
    name: str
    vcpus: int
    ram: int
    """MiB"""
    disk: int = 0
    """GiB; 0: as large as the image"""


@dataclass(frozen=True)
class Image:
    """A machine image."""

    id: str
    name: str
    status: str = "active"
    min_ram: int = 0
    """MiB"""
    min_disk: int = 0
    """GiB"""


@dataclass(frozen=True)
class Network:
    """A network and the ranges of its subnets."""

    id: str
    name: str
    cidrs: tuple[str, ...] = ()
    attachable: bool = True
    """False: an external network that Nova attaches no server of this project to."""


@dataclass(frozen=True)
class Allowance:
    """How much of one resource the project may use, and uses."""

    limit: int
    """-1: as much as it likes"""
    used: int

    @property
    def free(self) -> int | None:
        """What is left; None: no limit."""
        return None if self.limit < 0 else max(self.limit - self.used, 0)


@dataclass(frozen=True)
class Offer:
    """What the cloud says to this caller. Each list holds all that fits a name or id that was asked for."""

    flavors: Mapping[str, Sequence[Flavor]]
    images: Mapping[str, Sequence[Image]]
    networks: Mapping[str, Sequence[Network]]
    zones: frozenset[str]
    quota: Mapping[str, Allowance] = field(default_factory=dict)
    """By resource; one that is absent is unknown, which is not the same as none."""
    block_storage: bool = True
    """Whether the cloud has it; looked for only where a pool has a root volume."""


@dataclass(frozen=True)
class Machines:
    """The ids that a pool's names stand for."""

    flavor: Flavor
    image: Image
    network: Network


def decide_pool(pool: PoolDraft, offer: Offer) -> tuple[Machines | None, list[FieldProblem]]:
    """What the pool's machines are made of, or what is wrong with it."""
    problems: list[FieldProblem] = []
    flavor = _one(offer.flavors, pool.flavor, "flavor", "openstack flavor list", problems)
    image = _one(offer.images, pool.image, "image", "openstack image list", problems)
    network = decide_network(pool.network, offer, problems)
    problems += _check_zones(pool.zones, offer)
    problems += _check_block_storage(pool, offer)
    if flavor is None or image is None or network is None:
        return None, problems
    problems += _check_image(pool, flavor, image)
    return Machines(flavor, image, network), problems


def decide_network(chosen: Chosen, offer: Offer, problems: list[FieldProblem]) -> Network | None:
    """The one network that is meant, which must have an IPv4 subnet: nodes are known by such an address."""
    network = _one(offer.networks, chosen, "network", "openstack network list", problems)
    if network is not None and not network.attachable:
        message = f"the network {network.name} is external: no server can be on it"
        remedy = "Choose a network of the project; the cloud's routers lead out of it."
        problems.append(FieldProblem("network_external", chosen.field, message, remedy))
    elif network is not None and all(":" in cidr for cidr in network.cidrs):
        message = f"the network {network.name} has no IPv4 subnet"
        remedy = "Add one to it (openstack subnet create), or choose another network."
        problems.append(FieldProblem("network_without_subnet", chosen.field, message, remedy))
    return network


T = TypeVar("T", Flavor, Image, Network)


def _one(
    offered: Mapping[str, Sequence[T]], chosen: Chosen, what: str, command: str, problems: list[FieldProblem]
) -> T | None:
    found = offered.get(chosen.value, ())
    if len(found) == 1:
        return found[0]
    if found:
        message = f"{len(found)} of the project's {what}s are named {chosen.value[:80]}"
        problem = FieldProblem("ambiguous_name", chosen.field, message, f"Give the {what}'s id ({command}).")
    else:
        message = f"the project sees no {what} {chosen.value[:80]!r}"
        remedy = f"Choose one of those that '{command}' shows."
        problem = FieldProblem(f"unknown_{what}", chosen.field, message, remedy)
    if problem not in problems:
        problems.append(problem)
    return None


def _check_zones(zones: Sequence[Chosen], offer: Offer) -> list[FieldProblem]:
    known = ", ".join(sorted(offer.zones)) or "none"
    return [
        FieldProblem(
            "unknown_zone",
            zone.field,
            f"there is no availability zone {zone.value[:80]!r}",
            f"Choose among: {known}.",
        )
        for zone in zones
        if zone.value not in offer.zones
    ]


def _check_block_storage(pool: PoolDraft, offer: Offer) -> list[FieldProblem]:
    if pool.setup.root_volume is None or offer.block_storage:
        return []
    message = "the catalogue of this cloud has no block storage to make a root volume of"
    remedy = "Leave the root volume out, and choose a flavor with a disk that is large enough."
    return [FieldProblem("block_storage_missing", pool.at(pool.setup.volume_field), message, remedy)]


def _check_image(pool: PoolDraft, flavor: Flavor, image: Image) -> list[FieldProblem]:
    if image.status != "active":
        message = f"the image {image.name} is {image.status}"
        return [FieldProblem("image_not_active", pool.image.field, message, "Choose an image that is active.")]
    volume = pool.setup.root_volume
    if volume is not None and volume.size < image.min_disk:
        message = f"the root volume has {volume.size} GiB, the image {image.name} needs {image.min_disk} GiB"
        return [FieldProblem("volume_too_small", pool.at(pool.setup.volume_field), message, "Ask for a larger volume.")]
    if flavor.ram < image.min_ram or (volume is None and flavor.disk and flavor.disk < image.min_disk):
        message = (
            f"the flavor {flavor.name} has {flavor.ram} MiB and {flavor.disk} GiB, the image {image.name} needs "
            f"{image.min_ram} MiB and {image.min_disk} GiB"
        )
        return [FieldProblem("flavor_too_small", pool.flavor.field, message, "Choose a larger flavor.")]
    return []


@dataclass(frozen=True)
class Nodes:
    """The nodes of one pool: those that are wanted, or those that there are."""

    role: Role
    count: int
    flavor: Flavor
    root_volume: RootVolume | None = None

    def use(self) -> Counter[str]:
        """What they use of the project's quota, by resource."""
        used = Counter(
            instances=self.count,
            ports=self.count,
            cores=self.count * self.flavor.vcpus,
            ram=self.count * self.flavor.ram,
        )
        if self.root_volume is not None:
            kinds = ("", *([f"_{self.root_volume.type}"] if self.root_volume.type is not None else []))
            for kind in kinds:
                used[f"volumes{kind}"] = self.count
                used[f"gigabytes{kind}"] = self.count * self.root_volume.size
        return used


@dataclass(frozen=True)
class Extra:
    """What one pool is to be, instead of what it is now."""

    wanted: Nodes
    field: str
    """What a user changes to need less."""
    volume_field: str
    """Where the root volume is named."""
    present: Nodes | None = None

    def need(self) -> Counter[str]:
        """What it would use in addition, by resource; nothing of what it would use less."""
        need = self.wanted.use() - (self.present.use() if self.present is not None else Counter())
        return need | self._limits_of_one() if self._makes_machines() else need

    def _limits_of_one(self) -> Counter[str]:
        """What is limited for each single thing: nothing that is used already counts."""
        limits: Counter[str] = Counter()
        if self.wanted.role is not Role.WORKER:
            limits["server_group_members"] = self.wanted.count
        if self.wanted.root_volume is not None:
            limits["per_volume_gigabytes"] = self.wanted.root_volume.size
        return limits

    def _makes_machines(self) -> bool:
        before = self.present
        return before is None or self.wanted.count > before.count or self.wanted.root_volume != before.root_volume


NEW_CLUSTER = {"ports": 1, "security_groups": 3, "server_groups": 2}
"""What a cluster needs beside its nodes: the endpoint's port, a security group per role, a server group each for
etcd and controllers."""

_TELLING = {
    "instances": "servers",
    "cores": "cores",
    "ram": "MiB of memory",
    "ports": "ports",
    "security_groups": "security groups",
    "server_groups": "server groups",
    "server_group_members": "members of one server group",
    "volumes": "volumes",
    "gigabytes": "GiB of volumes",
    "per_volume_gigabytes": "GiB in one volume",
}
_OF_ONE = ("server_group_members", "per_volume_gigabytes")
"""Limits of a single thing: the greatest need counts, and none of it can be freed elsewhere."""


def decide_quota(extras: Sequence[Extra], fixed: Mapping[str, int], offer: Offer) -> list[FieldProblem]:
    """Whether the project's quota has room for these pools, one or more; unknown quotas are left to the cloud."""
    needs = [(extra, extra.need()) for extra in extras]
    total: Counter[str] = Counter(fixed)
    for _, need in needs:
        for resource, wanted in need.items():
            total[resource] = max(total[resource], wanted) if resource in _OF_ONE else total[resource] + wanted
    problems: list[FieldProblem] = []
    for resource, wanted in total.items():
        # the pool that needs most of it is where to save
        most, _ = max(needs, key=lambda each: (each[1][resource], each[0].wanted.count))
        field = most.volume_field if resource == "per_volume_gigabytes" else most.field
        problems += _check_room(resource, wanted, field, offer)
    return problems


def _check_room(resource: str, wanted: int, field: str, offer: Offer) -> list[FieldProblem]:
    allowance = offer.quota.get(resource)
    free = None if allowance is None else allowance.free
    if allowance is None or free is None or wanted <= free:
        return []
    known = resource if resource in _TELLING else resource.partition("_")[0]
    telling = _TELLING[known] + (f" of the type {resource.removeprefix(f'{known}_')}" if known != resource else "")
    message = f"{wanted} {telling} are needed, and {free} of {allowance.limit} are free"
    remedy = f"Ask for less, free {telling} in the project, or have its quota of {resource} raised."
    if resource in _OF_ONE:
        message = f"{wanted} {telling} are needed, and {allowance.limit} are allowed"
        remedy = f"Ask for less, or have the project's quota of {resource} raised."
    return [FieldProblem(f"{known}_quota_exceeded", field, message, remedy)]
