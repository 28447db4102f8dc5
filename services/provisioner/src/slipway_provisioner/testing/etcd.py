"""An etcd as a bench's agents change it: members come and go at once, a learner is promoted when it may be."""

from dataclasses import dataclass, field
from typing import Any

from slipway_contracts.agent import StepReport
from slipway_contracts.provisioner import StepState


@dataclass
class FakeMember:
    """One member that was added by an agent."""

    peer_url: str
    votes: bool = False


@dataclass
class FakeEtcd:
    """The etcd of one cluster; what it began with is not written down."""

    members: dict[str, FakeMember] = field(default_factory=dict)
    """By name; only those that were added."""
    ids: dict[str, str] = field(default_factory=dict)
    lagging: set[str] = field(default_factory=set)
    """Names of learners that are not in sync."""
    former: dict[str, list[str]] = field(default_factory=dict)
    """Former peer URLs that were named with each addition."""
    refusing: set[str] = field(default_factory=set)
    """Node ids whose agents' changes fail."""
    changes: list[str] = field(default_factory=list)
    """What was done, in order."""

    def report(self, node_id: str, step: dict[str, Any], now: Any) -> StepReport:
        """What the agent of this node reports of the step."""
        actions = [action for action in step["actions"] if action["kind"] == "etcd_member"]
        if not actions:
            return StepReport(name=step["name"], state=StepState.DONE, since=now)
        (action,) = actions
        if node_id in self.refusing:
            return StepReport(name=step["name"], state=StepState.FAILED, since=now, code="WaitingForEtcd")
        if action["member_id"] is None:
            return StepReport(name=step["name"], state=StepState.DONE, since=now, result=self._add(action))
        name = self.ids.get(action["member_id"])
        if name is None:
            return StepReport(name=step["name"], state=StepState.FAILED, since=now, code="EtcdMemberMissing")
        if name in self.lagging:
            code = action["waiting_code"]
            return StepReport(name=step["name"], state=StepState.WAITING, since=now, code=code, for_others=True)
        if not self.members[name].votes:
            self.members[name].votes = True
            self.changes.append(f"promote {name}")
        return StepReport(name=step["name"], state=StepState.DONE, since=now, result=action["member_id"])

    def forget(self, name: str) -> None:
        """Somebody removes the member."""
        del self.members[name]
        self.ids = {member_id: known for member_id, known in self.ids.items() if known != name}

    def _add(self, action: dict[str, Any]) -> str:
        name = str(action["name"])
        if name not in self.members:
            self.members[name] = FakeMember(action["peer_url"])
            self.former[name] = list(action["former_peer_urls"])
            self.changes.append(f"add {name}")
            self.ids[f"{len(self.changes):016x}"] = name
        return next(member_id for member_id, known in self.ids.items() if known == name)
