"""The api's tables. Tables are storage, never contracts: desired state is stored as the JSON of its contract."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, MetaData, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from slipway_chassis.database import UtcDateTime

metadata = MetaData()
"""This service's own; several services share one process in a simulation."""


LONGEST_NAME = 200
"""Of a person's name in the audit log and in operations: Keystone's may be longer, and are cut."""


class Row(SQLModel, registry=registry(metadata=metadata)):
    """The base of all tables of this service."""


class ClusterRow(Row, table=True):
    """The desired state of one cluster. The row stays after the cluster is gone: ids are never reused."""

    __tablename__ = "clusters"

    cluster_id: str = Field(primary_key=True, max_length=64)
    project_id: str = Field(max_length=64, index=True)
    region: str = Field(max_length=64)
    name: str = Field(max_length=63)
    generation: int
    """Guards every change: a change names the generation that it was made from."""
    spec: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class NameRow(Row, table=True):
    """A name that is in use; it is free again when the cluster is gone."""

    __tablename__ = "names"

    project_id: str = Field(primary_key=True, max_length=64)
    name: str = Field(primary_key=True, max_length=63)
    cluster_id: str = Field(max_length=64)


class StatusRow(Row, table=True):
    """What lists show and filter by; projected from facts, can be thrown away."""

    __tablename__ = "cluster_status"

    cluster_id: str = Field(primary_key=True, max_length=64)
    generation: int
    state: str = Field(max_length=20, index=True)
    reason: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    nodes_wanted: int = 0
    nodes_ready: int = 0
    percent: int = 0
    endpoint: str | None = Field(default=None, max_length=200)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class OperationRow(Row, table=True):
    """An operation: what was asked for, by whom, and what its owner said of it last."""

    __tablename__ = "operations"

    operation_id: str = Field(primary_key=True, max_length=64)
    cluster_id: str = Field(max_length=64, index=True)
    project_id: str = Field(max_length=64, index=True)
    region: str = Field(max_length=64)
    kind: str = Field(max_length=32)
    generation: int
    parameters: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    requested_by: str = Field(max_length=LONGEST_NAME)
    request_id: str = Field(max_length=64)
    requested_at: datetime = Field(sa_type=UtcDateTime)
    state: str = Field(max_length=20, index=True)
    percent: int = 0
    steps: list[dict[str, Any]] = Field(default_factory=list, sa_type=JSON)
    cause: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)


class FeedRow(Row, table=True):
    """One event as users see it; `id` orders the stream and is where it is resumed."""

    __tablename__ = "feed"
    __table_args__ = (Index("ix_feed_project", "project_id", "id"), Index("ix_feed_cluster", "cluster_id", "id"))

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    )
    project_id: str = Field(max_length=64)
    region: str = Field(max_length=64)
    cluster_id: str = Field(max_length=64)
    operation_id: str | None = Field(default=None, max_length=64)
    node_id: str | None = Field(default=None, max_length=64)
    type: str = Field(max_length=80)
    subject: str = Field(max_length=200)
    message: str = Field(sa_type=Text)
    data: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(sa_type=UtcDateTime, index=True)


class AnswerRow(Row, table=True):
    """The answer to a request that carried an Idempotency-Key, to be given again."""

    __tablename__ = "answers"

    project_id: str = Field(primary_key=True, max_length=64)
    user_id: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=128)
    request_hash: str = Field(max_length=64)
    status: int
    headers: dict[str, str] = Field(default_factory=dict, sa_type=JSON)
    body: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)


class AuditRow(Row, table=True):
    """Who asked for what, from where, and what came of it."""

    __tablename__ = "audit"

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    )
    at: datetime = Field(sa_type=UtcDateTime, index=True)
    request_id: str = Field(max_length=64)
    user_id: str | None = Field(default=None, max_length=64)
    user_name: str | None = Field(default=None, max_length=LONGEST_NAME)
    project_id: str | None = Field(default=None, max_length=64, index=True)
    remote: str | None = Field(default=None, max_length=64)
    action: str = Field(max_length=300)
    cluster_id: str | None = Field(default=None, max_length=64)
    operation_id: str | None = Field(default=None, max_length=64)
    status: int
    code: str | None = Field(default=None, max_length=64)
