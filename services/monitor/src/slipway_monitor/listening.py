"""What agents pushed lately, kept in memory: the newest observation of each, fresher than its stored row."""

from datetime import datetime, timedelta

from slipway_monitor.domain.model import AgentView


class Heard:
    """The newest observation of each agent that this process received, and since when it listens."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self._newest: dict[str, AgentView] = {}
        self._stored_at: dict[str, datetime] = {}
        self._digests: dict[str, str] = {}
        self._last_two: list[tuple[str, datetime]] = []

    def hear(self, view: AgentView) -> None:
        """Keep the observation."""
        node_id = view.observation.node_id
        self._newest[node_id] = view
        others = [each for each in self._last_two if each[0] != node_id]
        self._last_two = [(node_id, view.received_at), *others][:2]

    def latest(self, node_id: str) -> AgentView | None:
        """The newest observation of this agent received here."""
        return self._newest.get(node_id)

    def elsewhere(self, node_id: str) -> datetime | None:
        """When any other agent was heard here last."""
        return max((at for other, at in self._last_two if other != node_id), default=None)

    def is_news(self, node_id: str, digest: str) -> bool:
        """Whether this says something else than what was stored last."""
        return self._digests.get(node_id) != digest

    def must_be_stored(self, node_id: str, now: datetime, every: timedelta) -> bool:
        """Whether the stored row is too old for other replicas."""
        stored = self._stored_at.get(node_id)
        return stored is None or now - stored >= every

    def stored(self, node_id: str, digest: str, now: datetime) -> None:
        """The newest observation is in the database."""
        self._digests[node_id] = digest
        self._stored_at[node_id] = now

    def forget(self, node_id: str) -> None:
        """Drop what is kept of a node."""
        for kept in (self._newest, self._stored_at, self._digests):
            kept.pop(node_id, None)
