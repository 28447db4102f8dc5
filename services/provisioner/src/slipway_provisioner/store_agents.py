"""The nodes' agents: which token each server was given, and which key it is bound to."""

import hashlib
import hmac
from datetime import datetime

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import Field, col

from slipway_chassis.database import UtcDateTime
from slipway_provisioner.crypto import MasterKey
from slipway_provisioner.store import Row
from slipway_provisioner.store_plans import forget_plan


class AgentRow(Row, table=True):
    """The agent of one node, of its newest server."""

    __tablename__ = "agents"

    node_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    incarnation: int
    token_hash: str = Field(max_length=64)
    token_until: datetime = Field(sa_type=UtcDateTime)
    key_fingerprint: str | None = Field(default=None, max_length=64)
    """The public key that claimed the token first; no other may."""
    claimed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    hostname: str | None = Field(default=None, max_length=255)
    agent_version: str | None = Field(default=None, max_length=64)
    boot_id: str | None = Field(default=None, max_length=64)
    clock_skew: float = 0.0
    """Seconds by which the machine's clock was ahead at its last claim."""
    refused_claims: int = 0
    """Claims with the right token by another key."""


def agent_token(master: MasterKey, node_id: str, incarnation: int) -> str:
    """The token of the node's server of this incarnation."""
    return master.derive(f"agent-token/{node_id}/{incarnation}")


async def mint_agent_token(
    session: AsyncSession,
    master: MasterKey,
    cluster_id: str,
    node_id: str,
    incarnation: int,
    until: datetime,
) -> str:
    """The token that the node's server of this incarnation claims its plan with, first by `until` at the latest.

    It is the same each time, so a create that is repeated after a crash gives the server the token that is known here.
    Called again it only moves the deadline. A greater incarnation starts anew: the old server's key counts no more.
    """
    token = agent_token(master, node_id, incarnation)
    row = await session.get(AgentRow, node_id)
    if row is not None and row.incarnation >= incarnation:
        if row.incarnation == incarnation:
            row.token_until = until
        return token
    if row is not None:
        await session.delete(row)
        await session.flush()
        await forget_plan(session, node_id)
    session.add(
        AgentRow(
            node_id=node_id,
            cluster_id=cluster_id,
            incarnation=incarnation,
            token_hash=_hash(token),
            token_until=until,
        )
    )
    await session.flush()
    return token


async def end_token(session: AsyncSession, node_id: str, incarnation: int, until: datetime) -> None:
    """The token of this incarnation ends at this time; whoever has claimed it already stays who it is."""
    row = await session.get(AgentRow, node_id)
    if row is not None and row.incarnation == incarnation:
        row.token_until = until


def is_token(row: AgentRow, token: str) -> bool:
    """Whether this is the token, compared in constant time."""
    return hmac.compare_digest(row.token_hash, _hash(token))


async def forget_agent(session: AsyncSession, node_id: str) -> None:
    """The node is gone; its agent is a stranger from now on."""
    await session.execute(delete(AgentRow).where(col(AgentRow.node_id) == node_id))


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
