"""The chassis' own tables, one set in each service's database."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from slipway_chassis.database import UtcDateTime

CHASSIS = MetaData()

facts = Table(
    "facts",
    CHASSIS,
    Column("source", String(80), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("type", String(80), nullable=False),
    Column("body", String(60), nullable=False),
    Column("cluster_id", String(64), nullable=True),
    Column("ended", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source", "subject"),
    Index("ix_facts_cluster_body", "cluster_id", "body"),
)
"""What others said last: a row per (source, subject), replaced when the sequence is greater. It is the inbox."""

announced = Table(
    "announced",
    CHASSIS,
    Column("subject", String(200), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("type", String(80), nullable=False),
    Column("region", String(60), nullable=False),
    Column("cluster_id", String(64), nullable=True, index=True),
    Column("ended", Boolean, nullable=False),
    Column("document", Text, nullable=False),
    Column("announced_at", UtcDateTime, nullable=False),
)
"""What this service said last about each of its subjects: the source of repetitions."""

outbox = Table(
    "outbox",
    CHASSIS,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("routing_key", String(120), nullable=False),
    Column("event_id", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
"""What must still go to the bus; a row goes away when the broker confirmed it."""

work = Table(
    "work",
    CHASSIS,
    Column("kind", String(40), nullable=False),
    Column("key", String(200), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_owner", String(80), nullable=True),
    Column("lease_until", UtcDateTime, nullable=True),
    Column("failures", Integer, nullable=False),
    Column("last_error", Text, nullable=True),
    Column("traceparent", String(60), nullable=True),
    Column("traced_at", UtcDateTime, nullable=True),
    PrimaryKeyConstraint("kind", "key"),
    Index("ix_work_due", "due_at"),
)
"""Objects to look at: when, who is at it, and the trace that asked for it last. Any number of replicas share it."""

listings = Table(
    "listings",
    CHASSIS,
    Column("source", String(80), nullable=False),
    Column("cluster_id", String(64), nullable=False),
    Column("listed_sequence", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("source", "cluster_id"),
)
"""When each owner's complete list of facts about a cluster was last received."""
