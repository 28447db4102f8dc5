"""Who asks: a person in a project, as Keystone says, and what her roles allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from slipway_contracts.api import ClusterUser, Persona

_RANK = {Persona.READER: 0, Persona.MEMBER: 1, Persona.ADMIN: 2}


@dataclass(frozen=True)
class Caller:
    """A person in a project, with the token that proves it. The token is never shown."""

    user_id: str
    user_name: str
    project_id: str
    project_name: str
    persona: Persona
    expires_at: datetime
    regions: tuple[str, ...]
    """The regions whose Keystone knows this token; in all others the caller sees nothing."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Service type -> public URL, from the token's catalogue."""
    token: str = field(default="", repr=False)

    @property
    def cluster_user(self) -> ClusterUser:
        """How RBAC inside a cluster knows this person."""
        return ClusterUser(name=f"{self.user_name}@{self.user_id}", persona=self.persona)

    def may(self, needed: Persona) -> bool:
        """Whether the roles reach this persona."""
        return _RANK[self.persona] >= _RANK[needed]


def persona_of(roles: Sequence[str]) -> Persona | None:
    """The highest persona that the Keystone roles give; None: no role that counts here."""
    known = [persona for persona in Persona if persona.value in {role.lower() for role in roles}]
    return max(known, key=lambda persona: _RANK[persona], default=None)
