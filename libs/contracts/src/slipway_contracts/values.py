"""Small values that several owners' bodies are made of."""

import re
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

Instant = AwareDatetime
"""An aware UTC datetime; naive times are refused."""

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_.-]{1,64}$")]
"""An identifier of our own (a UUID in canonical form) or of the cloud's."""

DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
"""RFC 1035 label, in small letters: what Kubernetes asks of the names of Services."""

DnsLabel = Annotated[str, StringConstraints(pattern=DNS_LABEL.pattern)]


class Value(BaseModel):
    """A frozen value; unknown fields of a newer writer are ignored when read.

    An error does not show what was read: it may be a secret, and errors are logged.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_timedelta="float", hide_input_in_errors=True)


class Role(StrEnum):
    """What the nodes of a pool do."""

    ETCD = "etcd"
    CONTROLLER = "controller"
    WORKER = "worker"


class Mover(StrEnum):
    """Whose move it is when something waits."""

    NOBODY = "nobody"
    USER = "user"
    OPERATOR = "operator"
    CLOUD = "cloud"
    SLIPWAY = "slipway"


class Reason(Value):
    """Why something waits, was refused or failed: a code for machines and a sentence for people."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{1,63}$")] = Field(
        description="CamelCase, stable: QuotaExceeded, WaitingForEtcd", examples=["QuotaExceeded"]
    )
    message: str = Field(description="One sentence that a user can act on", max_length=2000)
    whose_move: Mover = Mover.SLIPWAY
    retry_at: Instant | None = Field(default=None, description="When it is tried or looked at again")


def is_uuid(text: str) -> bool:
    """Whether the text is a UUID in any of the forms that UUID() reads."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
