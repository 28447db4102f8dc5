"""Each member's place in a cluster's etcd: by which name and address etcd knows it, and how its new server joins."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from slipway_chassis.database import UtcDateTime
from slipway_provisioner.store import Row


class PlaceState(StrEnum):
    """How far the member of the node's present server is into etcd's membership."""

    MEMBER = "member"
    """It belongs to the membership: from etcd's beginning, or since it was promoted."""
    WANTED = "wanted"
    """What had the place before has to be removed, and a learner to be added."""
    LEARNER = "learner"
    """etcd has added it; once it is in sync it is promoted."""


class EtcdPlace(Row, table=True):
    """The place of one etcd node. There is one for each since the membership was frozen."""

    __tablename__ = "etcd_places"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    incarnation: int
    """Of the server that has the place or is to get it."""
    name: str = Field(max_length=80)
    """The member's; another one for each server that joins an etcd that is there."""
    address: str = Field(max_length=64)
    """The one that etcd's membership has; a node whose port was lost has another one until its server joins."""
    initial: list[list[str]] = Field(sa_type=JSON)
    """Name and address of each member that this one is started with. It never changes for a server."""
    existing: bool = False
    """Whether it joins an etcd that is there."""
    started: bool = False
    """A former server of the node may have started etcd: its member has voted, and its data are lost."""
    state: str = Field(default=PlaceState.MEMBER.value, max_length=20)
    member_id: str | None = Field(default=None, max_length=16)
    """16 hexadecimal digits, of a member that was added by us."""
    helper_id: str | None = Field(default=None, max_length=64)
    """The node whose agent makes the change."""
    helped_since: datetime | None = Field(default=None, sa_type=UtcDateTime)


async def places_of(session: AsyncSession, cluster_id: str) -> Sequence[EtcdPlace]:
    """The places of a cluster's etcd, by node; none before its membership is frozen."""
    query = select(EtcdPlace).where(col(EtcdPlace.cluster_id) == cluster_id).order_by(col(EtcdPlace.node_id))
    return (await session.execute(query)).scalars().all()
