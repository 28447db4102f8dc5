"""The names of resources in the cloud."""

SHORT = 12
"""Characters of the ledger id in a name; the end of a UUIDv7 is 48 random bits."""

LONGEST_LABEL = 120


def resource_name(cluster_name: str, label: str, resource_id: str) -> str:
    """`slipway-<cluster>-<label>-<short>`: unique by its end, which is how kinds without a mark are recognised."""
    return f"slipway-{cluster_name}-{label[:LONGEST_LABEL]}-{resource_id[-SHORT:]}"
