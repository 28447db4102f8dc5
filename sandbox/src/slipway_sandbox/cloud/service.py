"""How every emulated service answers: find the route, know the caller, run the handler, word the error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from slipway_sandbox.cloud.messages import Json, Refused, Request, Response
from slipway_sandbox.cloud.state import State


@dataclass(frozen=True)
class Caller:
    """Who asks, as the token says."""

    user_id: str
    project_id: str | None
    roles: frozenset[str]
    token_id: str

    @property
    def is_admin(self) -> bool:
        """Whether policies for administrators let this caller through."""
        return "admin" in self.roles

    @property
    def project(self) -> str:
        """The project the token is scoped to; an unscoped token owns nothing."""
        return self.project_id or ""


@dataclass(frozen=True)
class Call:
    """A request on its way into a handler."""

    state: State
    request: Request
    caller: Caller
    params: Mapping[str, str]
    origin: str
    base: str
    microversion: tuple[int, int] = (2, 1)

    def body(self, wrapper: str) -> Json:
        """The JSON object inside `{"<wrapper>": {...}}`, or `Refused` with 400."""
        value = self.request.json().get(wrapper)
        if not isinstance(value, dict):
            raise Refused(400, f"Unable to find '{wrapper}' in request body", "HTTPBadRequest")
        return value


Handler = Callable[[Call], Response]
ANONYMOUS = Caller("", None, frozenset(), "")


@dataclass(frozen=True)
class Route:
    """One operation: `{name}` segments of the template become parameters, `{name...}` takes the rest."""

    method: str
    template: str
    handler: Handler
    public: bool = False


class RouteTable:
    """Routes of one service, found by method and path."""

    def __init__(self, routes: list[Route]) -> None:
        self._routes = [(route, route.template.strip("/").split("/")) for route in routes]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        """The first matching route with its parameters."""
        segments = path.strip("/").split("/")
        for route, template in self._routes:
            if route.method == method:
                params = _match(template, segments)
                if params is not None:
                    return route, params
        return None


def _match(template: list[str], segments: list[str]) -> dict[str, str] | None:
    greedy = template[-1].endswith("...}")
    if len(template) != len(segments) and not (greedy and len(segments) > len(template)):
        return None
    params: dict[str, str] = {}
    for index, part in enumerate(template):
        if part.endswith("...}"):
            params[part[1:-4]] = unquote("/".join(segments[index:]))
        elif part.startswith("{"):
            params[part[1:-1]] = unquote(segments[index])
        elif part != segments[index]:
            return None
    return params


def caller_of(state: State, token_id: str | None) -> Caller | None:
    """Whose token this is; None for a token that is absent, unknown, revoked or expired."""
    token = state.tokens.get(token_id or "")
    if token is None or token.expires_at <= state.now():
        return None
    return Caller(token.user_id, token.project_id, frozenset(token.roles), token.id)


def require_role(call: Call, rule: str, role: str = "member") -> None:
    """Refuse with 403 in the service's words unless the caller has the role (or is an administrator)."""
    if not call.caller.is_admin and role not in call.caller.roles:
        raise Refused(403, rule, "PolicyNotAuthorized")


def require_admin(call: Call, rule: str) -> None:
    """Refuse with 403 in the service's words unless the caller is an administrator."""
    require_role(call, rule, "admin")


def matches_tags(request: Request, tags: list[str]) -> bool:
    """Whether an object's tags pass `tags`, `tags-any`, `not-tags` and `not-tags-any` of a list request."""
    own = set(tags)
    wanted = {
        name: set((request.first(name) or "").split(","))
        for name in ("tags", "tags-any", "not-tags", "not-tags-any")
        if name in request.query
    }
    return (
        ("tags" not in wanted or wanted["tags"] <= own)
        and ("tags-any" not in wanted or bool(wanted["tags-any"] & own))
        and ("not-tags" not in wanted or not wanted["not-tags"] <= own)
        and ("not-tags-any" not in wanted or not wanted["not-tags-any"] & own)
    )
