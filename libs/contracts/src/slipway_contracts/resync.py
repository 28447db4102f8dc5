"""How what was lost is found again: owners repeat their facts, on request and every ten minutes."""

from typing import Any

from pydantic import Field

from slipway_contracts.envelope import Body, Event, Sequence
from slipway_contracts.values import Id

SERVICES = ("api", "provisioner", "healer", "monitor", "addon_manager")
OPERATOR = "operator"
"""The source of what an operator's tool says; it owns no state."""


class ResyncRequest(Body):
    """Who wants facts repeated, and of which cluster (all where none is named)."""

    requester: str = Field(description="<service>/<region>")
    cluster_id: Id | None = None


class ResyncRequested(Event[ResyncRequest], noun="resync", verb="requested", owner=(*SERVICES, OPERATOR)):
    """A service starts with an empty database, or somebody wants to be sure."""


class ClusterFacts(Body):
    """All facts of one owner about one cluster, and its endings of the last seven days.

    No fact itself: it is unpacked into facts with their own sequences. A fact of this owner and cluster that the
    receiver has, with a sequence below `listed_at`, and that is not in the list, no longer exists.
    """

    cluster_id: Id
    listed_at: Sequence
    facts: tuple[dict[str, Any], ...] = Field(description="whole CloudEvents documents")


class ClusterFactsAnnounced(Event[ClusterFacts], noun="cluster", verb="facts_announced", owner=SERVICES):
    """The complete list of this owner's facts about the cluster; a repetition."""
