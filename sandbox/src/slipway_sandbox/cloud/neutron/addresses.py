"""Which address a port gets."""

from __future__ import annotations

import ipaddress
from typing import Any

from slipway_sandbox.cloud.messages import Json, Refused
from slipway_sandbox.cloud.state import State


def subnets_of(state: State, network_id: str) -> list[Json]:
    """The subnets of a network, oldest first."""
    return [subnet for subnet in state.network["subnet"].values() if subnet["network_id"] == network_id]


def allocate(state: State, network_id: str, wanted: list[Json]) -> list[Json]:
    """Take addresses: the wanted ones, or the next free one of the network's first subnet.

    Raises Neutron's 409 for an address in use or a full pool, its 400 for one outside every subnet.
    """
    subnets = subnets_of(state, network_id)
    taken: list[Json] = []
    try:
        for wish in wanted or ([{}] if subnets else []):
            taken.append(_take(state, network_id, subnets, wish))  # noqa: PERF401 - what was taken must survive an error
    except Refused:
        release(state, taken)
        raise
    return taken


def _take(state: State, network_id: str, subnets: list[Json], wish: Json) -> Json:
    address = wish.get("ip_address")
    if address:
        subnet = _subnet_holding(subnets, wish.get("subnet_id"), str(address))
        used = state.addresses.setdefault(subnet["id"], set())
        if address in used:
            raise Refused(
                409,
                f"IP address {address} already allocated in subnet {subnet['id']}",
                "IpAddressAlreadyAllocated",
            )
        used.add(str(address))
        return {"subnet_id": subnet["id"], "ip_address": str(address)}
    wanted_id = wish.get("subnet_id")
    candidates = [subnet for subnet in subnets if wanted_id in (None, subnet["id"])]
    if not candidates:
        raise Refused(
            400,
            f"Invalid input for operation: Failed to create port on network {network_id}, because fixed_ips"
            f" included invalid subnet {wanted_id}.",
            "InvalidInput",
        )
    return _next_free(state, network_id, candidates)


def _subnet_holding(subnets: list[Json], wanted_id: Any, address: str) -> Json:
    for subnet in subnets:
        inside = ipaddress.ip_address(address) in ipaddress.ip_network(subnet["cidr"])
        if inside and wanted_id in (None, subnet["id"]):
            return subnet
    raise Refused(
        400,
        f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
        "InvalidIpForNetwork",
    )


def _next_free(state: State, network_id: str, subnets: list[Json]) -> Json:
    # The pointer only moves on, so that a freed address is not reused at once: whoever remembers an old
    # address should not reach a stranger's machine.
    for subnet in subnets:
        pool = subnet["allocation_pools"][0]
        first, last = int(ipaddress.ip_address(pool["start"])), int(ipaddress.ip_address(pool["end"]))
        used = state.addresses.setdefault(subnet["id"], set())
        size = last - first + 1
        start = state.next_address.get(subnet["id"], 0)
        for step in range(size):
            offset = (start + step) % size
            address = str(ipaddress.ip_address(first + offset))
            if address not in used:
                used.add(address)
                state.next_address[subnet["id"]] = offset + 1
                return {"subnet_id": subnet["id"], "ip_address": address}
    raise Refused(
        409,
        f"No more IP addresses available on network {network_id}.",
        "IpAddressGenerationFailure",
    )


def release(state: State, fixed_ips: list[Json]) -> None:
    """Give addresses back."""
    for fixed in fixed_ips:
        state.addresses.get(fixed["subnet_id"], set()).discard(fixed["ip_address"])
