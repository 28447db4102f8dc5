"""Query parameters as Go's API server reads them."""

from collections.abc import Mapping


def flag(query: Mapping[str, str], name: str) -> bool:
    """A boolean parameter; clients write it true, True or 1."""
    return query.get(name, "") in ("1", "t", "T", "true", "TRUE", "True")
