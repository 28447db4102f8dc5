"""The names of resources in the cloud, and the ids that the ledger gives them."""

from uuid import UUID, uuid5

_IDS = UUID("6f0c8f5e-6d53-4a0f-9d3e-0e1d6a3b8c21")
"""The namespace of all ledger ids (RFC 9562, version 5)."""

SHORT = 12
"""Characters of the ledger id in a name; the end of a UUIDv5 is 48 bits of a hash."""

LONGEST_LABEL = 120


def resource_id_of(cluster_id: str, key: str) -> str:
    """The ledger's id for what a cluster needs under this key: the same again when the ledger has forgotten it."""
    return str(uuid5(_IDS, f"{cluster_id}/{key}"))


def resource_name(cluster_name: str, label: str, resource_id: str) -> str:
    """`slipway-<cluster>-<label>-<short>`: unique by its end, which is how kinds without a mark are recognised."""
    return f"slipway-{cluster_name}-{label[:LONGEST_LABEL]}-{resource_id[-SHORT:]}"
