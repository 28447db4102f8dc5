"""The change of etcd's membership that gives a lost member's place to its new server: remove, add as learner, promote.

It is made by the agent of a member that is well, and looks again right before each call. All of it may be repeated,
also by the agent of another member. Nobody is removed or added by a plan that may not be the newest: an agent that was
cut off from the provisioner would take the place from a later server, to which it was given meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slipway_node_agent.effects import Doing
from slipway_node_agent.errors import StepFailed
from slipway_node_agent.etcd import Etcd, EtcdRefused, Member, Membership, etcd_of
from slipway_node_agent.run import Patience, Run
from slipway_node_agent.services import ServiceFailed

Action = Mapping[str, Any]


class NotYet(Exception):
    """The change must wait: a code for machines and a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def ensure_member(run: Run, step: str, action: Action) -> Doing[None]:
    """The new member is added as a learner, or the one of `member_id` votes; the step's result is its id."""
    patience = Patience(run, step, float(action.get("timeout", 600.0)))
    change = _add if action.get("member_id") is None else _promote
    while True:
        try:
            run.progress.found(step, (yield from change(run, action, etcd_of(action))))
        except NotYet as wait:
            yield from patience.wait(wait.code, wait.message, for_others=True)
        except EtcdRefused as refusal:
            yield from patience.wait(
                "WaitingForEtcd", f"etcd does not change its members yet: {refusal}", for_others=True
            )
        except ServiceFailed as failure:
            message = f"whether this plan is still the newest is not known: {failure.message}"
            yield from patience.wait("ProvisionerUnreachable", message, for_others=True)
        else:
            return


def _add(run: Run, action: Action, etcd: Etcd) -> Doing[str]:
    """The id of the member of this name: what had its place before is removed first."""
    name, peer_url = str(action["name"]), str(action["peer_url"])
    membership = yield from etcd.membership(linearizable=True)
    made = run.memory.etcd_learners.get(name)
    for member in membership.members:
        if member.name == name or (member.member_id == made and not member.name):
            return member.member_id
    yield from run.require_newest()
    places = {peer_url, *action.get("former_peer_urls", ())}
    for member in membership.members:
        if places & set(member.peer_urls):
            yield from _check_lost(etcd, membership, member)
        elif not member.learner or (yield from etcd.look(member, membership.own_id))[0]:
            continue  # a dead learner of another change keeps every other one out, for etcd takes one at a time
        run.host.log("Removing a member of etcd", member=member.member_id, name=member.name)
        yield from etcd.remove(member.member_id)
    run.host.log("Adding a learner to etcd", name=name, peer_url=peer_url)
    member_id = yield from etcd.add_learner(peer_url)
    run.memory.etcd_learners = {name: member_id}
    run.remember()
    return member_id


def _check_lost(etcd: Etcd, membership: Membership, lost: Member) -> Doing[None]:
    """Raises NotYet while the member answers, or while no majority of healthy voters would be left after the change."""
    if lost.member_id == membership.own_id:
        raise StepFailed("EtcdMemberIsOwn", "a member of etcd does not remove itself: another one must help")
    answers, _ = yield from etcd.look(lost, membership.own_id)
    if answers:
        raise NotYet("EtcdMemberAnswers", f"the member {lost.name or lost.member_id} still answers: it is not lost")
    if lost.learner:
        return
    healthy = 0
    for voter in membership.voters:
        if voter.member_id != lost.member_id:
            serves, _ = yield from etcd.look(voter, membership.own_id)
            healthy += serves
    needed = len(membership.voters) // 2 + 1
    if healthy < needed:
        message = f"{healthy} members of etcd are healthy besides the lost one, and a majority is {needed}"
        raise NotYet("EtcdQuorumAtRisk", message)


def _promote(run: Run, action: Action, etcd: Etcd) -> Doing[str]:
    """The id, once that member votes."""
    member_id = str(action["member_id"])
    membership = yield from etcd.membership(linearizable=True)
    member = next((each for each in membership.members if each.member_id == member_id), None)
    if member is None:
        raise StepFailed("EtcdMemberMissing", f"etcd has no member {member_id} any more: it has to be added again")
    if member.learner:
        if not member.client_urls:
            raise NotYet(str(action["waiting_code"]), f"{action['waiting']} (it has not started yet)")
        try:
            yield from etcd.promote(member_id)
        except EtcdRefused as refusal:
            raise NotYet(str(action["waiting_code"]), f"{action['waiting']} ({refusal})") from None
        run.host.log("Promoted a member of etcd", member=member_id, name=member.name)
    return member_id
