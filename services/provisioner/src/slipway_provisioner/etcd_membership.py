"""Keeps each etcd node's place in its cluster's etcd, and has a lost member's given to its new server: one at a time.

The change itself is made by the agent of another member, as a step of that node's plan (domain.etcd_changes). Every
decision here is taken with the cluster's record locked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from slipway_chassis import facts
from slipway_chassis.work import Lease
from slipway_contracts.agent import StepReport
from slipway_contracts.api import ClusterSpec
from slipway_contracts.healer import NodeRow, Wanted
from slipway_contracts.monitor import EtcdMembership
from slipway_contracts.provisioner import NodePhase, ServerState, StepState
from slipway_contracts.values import Role
from slipway_provisioner.context import Context, cluster_record
from slipway_provisioner.domain import reasons
from slipway_provisioner.domain.etcd_changes import Outcome, decide_outcome, next_helper
from slipway_provisioner.domain.plans.etcd import START_STEP, help_step
from slipway_provisioner.domain.plans.model import Member, MembershipChange, Seat
from slipway_provisioner.store import ClusterRecord, NodeRecord, nodes_of
from slipway_provisioner.store_etcd import EtcdPlace, PlaceState, places_of
from slipway_provisioner.store_plans import REPORT_EVERY, PlanRow, reported_steps

log = structlog.get_logger()

SILENT_AFTER = 2 * REPORT_EVERY
"""A helper's agent that has not reported for so long, its plan being unfinished, is given up."""

_HELPING = (NodePhase.PROVISIONED.value, NodePhase.CONFIGURING.value)
_THERE = (*_HELPING, NodePhase.REBOOTING.value, NodePhase.FAILED.value)
"""Phases of a node whose server is there, and has claimed its plan."""


class EtcdMemberships:
    """The memberships of one region's clusters."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def advance(self, lease: Lease, cluster_id: str) -> None:
        """Take the change at hand as far as the helper's report allows, or begin the next one.

        Raises RetryLater at a node that waits for its place while nobody can help; the members that are there go on.
        """
        async with self._context.database.reading() as session:
            places = await places_of(session, cluster_id)
            nodes = {node.node_id: node for node in await nodes_of(session, cluster_id)}
        if not any(_is_moving(place) or _has_moved(place, nodes) for place in places):
            return
        async with self._context.holding(lease) as session:
            cluster = await cluster_record(session, cluster_id)
            assert cluster is not None, "a cluster's record comes before its nodes'"
            places = await places_of(session, cluster_id)
            nodes = {node.node_id: node for node in await nodes_of(session, cluster_id)}
            for place in places:
                if _has_moved(place, nodes):
                    await self._follow(session, cluster, place, places, nodes[place.node_id])
            at_hand = _at_hand(places, nodes)
            if at_hand is not None:
                await self._go_on(session, at_hand, places, nodes)
            alone = at_hand is not None and at_hand.helper_id is None and _is_moving(at_hand)
            waits = any(place.node_id == lease.key and _is_moving(place) for place in places)
        if alone and waits:
            raise reasons.nobody_helps_etcd()

    async def _follow(
        self,
        session: AsyncSession,
        cluster: ClusterRecord,
        place: EtcdPlace,
        places: Sequence[EtcdPlace],
        node: NodeRecord,
    ) -> None:
        """A member that was never started has lost its port: it has another address than the one it is known by.

        Before etcd has formed, the others know only the old one; they form it without this member.
        """
        if cluster.etcd_formed_at is not None:
            _want(place, node)
        elif len(places) == 1:
            place.address = node.addresses[0]
            place.initial = [[place.name, place.address]]
        else:
            return
        await self._context.look_at_node(session, node.node_id)

    async def _go_on(
        self, session: AsyncSession, place: EtcdPlace, places: Sequence[EtcdPlace], nodes: Mapping[str, NodeRecord]
    ) -> None:
        before, node = place.helper_id, nodes[place.node_id]
        fit = await self._fit(session, place, places, nodes)
        report, silent = await self._heard(session, place, node)
        adding = place.state == PlaceState.WANTED.value
        outcome = decide_outcome(report, adding=adding, fit=before in fit, silent=silent)
        helper = next_helper(fit, before) if outcome is Outcome.ANOTHER else before
        if outcome is Outcome.STAY or (outcome is Outcome.ANOTHER and helper == before):
            return
        log.info("Membership of etcd", cluster_id=place.cluster_id, member=place.name, outcome=outcome.value)
        place.helper_id, place.helped_since = helper, self._context.now()
        if outcome is Outcome.ADDED and report is not None:
            _added(place, node, report, places)
        elif outcome is Outcome.MISSING:
            place.state, place.member_id = PlaceState.WANTED.value, None
        elif outcome is Outcome.PROMOTED:
            place.state, place.helper_id, place.helped_since = PlaceState.MEMBER.value, None, None
            await self._context.look_at_nodes(session, place.cluster_id)
        for node_id in sorted({before, helper, place.node_id} - {None}, key=str):
            await self._context.look_at_node(session, str(node_id))

    async def _fit(
        self, session: AsyncSession, place: EtcdPlace, places: Sequence[EtcdPlace], nodes: Mapping[str, NodeRecord]
    ) -> list[str]:
        """Who can help: members that are up, and that the others do not see in trouble."""
        fact = await facts.fact_of(session, EtcdMembership, f"clusters/{place.cluster_id}/etcd")
        members = (*fact.body.voters, *fact.body.learners) if fact is not None else ()
        ill = {member.node_id for member in members if not member.healthy}
        return [
            other.node_id
            for other in places
            if other.node_id != place.node_id
            and other.state == PlaceState.MEMBER.value
            and other.node_id not in ill
            and _is_up(nodes[other.node_id])
        ]

    async def _heard(self, session: AsyncSession, place: EtcdPlace, node: NodeRecord) -> tuple[StepReport | None, bool]:
        """What the helper's agent says of its step, and whether it is silent about it; nothing while there is none."""
        plan = await session.get(PlanRow, place.helper_id) if place.helper_id is not None else None
        if plan is None:
            return None, True
        report = reported_steps(plan).get(help_step(change_for(place, node)))
        since = max(place.helped_since or plan.created_at, plan.reported_at or plan.created_at)
        return report, self._context.now() - since > SILENT_AFTER


async def seat_and_change(session: AsyncSession, node: NodeRecord) -> tuple[Seat | None, MembershipChange | None]:
    """What an etcd node's plan says of etcd's membership: its own place, and whom it helps."""
    seat, change = None, None
    for place in await places_of(session, node.cluster_id):
        if place.node_id == node.node_id and place.state != PlaceState.WANTED.value:
            if place.incarnation == node.incarnation and node.addresses[:1] == [place.address]:
                seat = Seat(place.name, tuple(Member(*entry) for entry in place.initial), place.existing)
        elif place.helper_id == node.node_id and place.state != PlaceState.MEMBER.value:
            other = await session.get(NodeRecord, place.node_id)
            if other is not None and other.addresses:
                change = change_for(place, other)
    return seat, change


def change_for(place: EtcdPlace, node: NodeRecord) -> MembershipChange:
    """The step at hand of the change that gives this place to the node's new server."""
    if place.state == PlaceState.LEARNER.value:
        return MembershipChange(node.name, place.name, place.address, member_id=place.member_id)
    former = place.address if place.address != node.addresses[0] else None
    return MembershipChange(node.name, place.name, node.addresses[0], former)


async def members_of(
    session: AsyncSession, cluster: ClusterRecord, spec: ClusterSpec, nodes: Sequence[NodeRecord]
) -> tuple[Member, ...]:
    """The members by their nodes' names; frozen once as many as the spec wants are named and have addresses.

    Until then the membership is incomplete and has a member without an address, so no plan is made from it.
    """
    places = await places_of(session, cluster.cluster_id)
    if places:
        names = {node.node_id: node.name for node in nodes}
        return tuple(Member(names[place.node_id], place.address) for place in places)
    present = [
        node
        for node in nodes
        if node.role == Role.ETCD.value and NodeRow.model_validate(node.row).wanted is Wanted.PRESENT
    ]
    if len(present) < sum(pool.count for pool in spec.pools_of(Role.ETCD)):
        return ()
    if all(node.addresses for node in present):
        session.add_all(first_places(present))
        await session.flush()
    return tuple(Member(node.name, node.addresses[0] if node.addresses else None) for node in present)


def first_places(nodes: Sequence[NodeRecord]) -> list[EtcdPlace]:
    """The places with which a cluster's etcd begins: members by their nodes' names, known to each other."""
    initial = [[node.name, node.addresses[0]] for node in nodes]
    return [
        EtcdPlace(
            node_id=node.node_id,
            cluster_id=node.cluster_id,
            incarnation=node.incarnation,
            name=node.name,
            address=node.addresses[0],
            initial=initial,
        )
        for node in nodes
    ]


async def begin_incarnation(context: Context, session: AsyncSession, node: NodeRecord, incarnation: int) -> None:
    """The node's old server is gone, and `node` still says how far it was.

    If that one may have started etcd, its member is lost with its data, and the new server joins as another one.
    Otherwise it starts in the old one's place; should etcd have known it all the same, etcd itself refuses that.
    """
    cluster = await cluster_record(session, node.cluster_id)
    place = await session.get(EtcdPlace, node.node_id)
    if place is None or cluster is None:
        return
    plan = await session.get(PlanRow, node.node_id)
    begun = reported_steps(plan).get(START_STEP) if plan is not None else None
    has_begun = begun is not None and begun.state is not StepState.PENDING
    place.started = place.started or has_begun or node.joined_at is not None
    place.incarnation = incarnation
    if cluster.etcd_formed_at is not None and (place.started or place.existing):
        if place.helper_id is not None:
            await context.look_at_node(session, place.helper_id)
        _want(place, node)


def note_formed(cluster: ClusterRecord | None, now: datetime) -> None:
    """A member has seen a quorum: from now on etcd holds data that must not be begun anew."""
    if cluster is not None and cluster.etcd_formed_at is None:
        cluster.etcd_formed_at = now


def _want(place: EtcdPlace, node: NodeRecord) -> None:
    place.state, place.existing, place.member_id = PlaceState.WANTED.value, True, None
    place.name = f"{node.name}-{place.incarnation}"
    place.helper_id, place.helped_since = None, None


def _added(place: EtcdPlace, node: NodeRecord, report: StepReport, places: Sequence[EtcdPlace]) -> None:
    """The learner is in etcd: its server starts with the members as they are now."""
    place.state, place.member_id, place.address = PlaceState.LEARNER.value, report.result, node.addresses[0]
    place.initial = [[other.name, other.address] for other in places]


def _is_moving(place: EtcdPlace) -> bool:
    return place.state != PlaceState.MEMBER.value


def _has_moved(place: EtcdPlace, nodes: Mapping[str, NodeRecord]) -> bool:
    """Whether the node has another address than etcd's membership, and no change for it is under way."""
    addresses = nodes[place.node_id].addresses
    return bool(addresses) and not _is_moving(place) and addresses[0] != place.address


def _at_hand(places: Sequence[EtcdPlace], nodes: Mapping[str, NodeRecord]) -> EtcdPlace | None:
    """The one change that is made now: one that was begun, or else of a node whose agent waits for it."""
    moving = [(place, nodes[place.node_id].phase) for place in places if _is_moving(place)]
    learners = [place for place, phase in moving if place.state == PlaceState.LEARNER.value and phase in _THERE]
    begun = [place for place, phase in moving if place.helper_id is not None and phase in _THERE]
    waiting = [place for place, phase in moving if phase == NodePhase.CONFIGURING.value]
    return next(iter([*learners, *begun, *waiting]), None)


def _is_up(node: NodeRecord) -> bool:
    return node.phase in _HELPING and node.joined_at is not None and node.server_state == ServerState.ACTIVE.value
