"""Keystone tokens: who you are, what you may, where the services are."""

from __future__ import annotations

import secrets
from datetime import datetime

from slipway_sandbox.cloud.keystone.catalogue import build_catalogue
from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import DEFAULT_DOMAIN, ApplicationCredential, Token, User
from slipway_sandbox.cloud.service import Call, Route
from slipway_sandbox.cloud.state import State
from slipway_sandbox.cloud.wording import NO_TOKEN

IMPLIED = {"admin": ("member", "reader"), "member": ("reader",)}


def effective_roles(state: State, user_id: str, project_id: str) -> tuple[str, ...]:
    """The user's roles in a project: direct ones, those inherited from the domain, and what they imply."""
    roles: set[str] = set()
    for assignment in state.assignments:
        if assignment.user_id == user_id and assignment.project_id in (None, project_id):
            roles.add(assignment.role)
            roles.update(IMPLIED.get(assignment.role, ()))
    return tuple(sorted(roles))


def issue_token(call: Call) -> Response:
    """POST /auth/tokens with password, token or application credential."""
    auth = call.request.json().get("auth")
    if not isinstance(auth, dict) or not isinstance(auth.get("identity"), dict):
        raise Refused(
            400,
            "Expecting to find auth in request body. The server could not comply with the request since it is"
            " either malformed or otherwise incorrect. The client is assumed to be in error.",
        )
    token = _authenticate(call.state, auth)
    call.state.tokens[token.id] = token
    return answer(201, {"token": describe_token(call, token)}, X_Subject_Token=token.id)


def _authenticate(state: State, auth: Json) -> Token:
    identity = auth["identity"]
    methods = tuple(identity.get("methods", ()))
    if methods == ("application_credential",):
        credential = _checked_credential(state, identity["application_credential"])
        granted = set(effective_roles(state, credential.user_id, credential.project_id))
        roles = tuple(role for role in credential.roles if role in granted)
        return _token(state, credential.user_id, credential.project_id, roles, methods, credential.id)
    if methods == ("password",):
        user = _checked_password(state, identity.get("password", {}).get("user", {}))
        limit = None
    elif methods == ("token",):
        old = state.tokens.get(identity.get("token", {}).get("id", ""))
        if old is None or old.expires_at <= state.now():
            raise Refused(401, NO_TOKEN)
        user, limit = state.users[old.user_id], old.expires_at
    else:
        raise Refused(401, NO_TOKEN)
    project_id = _scope(state, user, auth.get("scope"))
    roles = effective_roles(state, user.id, project_id) if project_id else ()
    if project_id and not roles:
        raise Refused(401, NO_TOKEN)
    return _token(state, user.id, project_id, roles, methods, limit=limit)


def _token(
    state: State,
    user_id: str,
    project_id: str | None,
    roles: tuple[str, ...],
    methods: tuple[str, ...],
    credential_id: str | None = None,
    limit: datetime | None = None,
) -> Token:
    now = state.now().replace(microsecond=0)
    return Token(
        id="gAAAAA" + state.new_hex() + state.new_hex(),
        audit_id=state.new_hex()[:22],
        user_id=user_id,
        project_id=project_id,
        roles=roles,
        methods=methods,
        issued_at=now,
        expires_at=limit or now + state.times.token,
        application_credential_id=credential_id,
    )


def _checked_password(state: State, claim: Json) -> User:
    for user in state.users.values():
        if claim.get("id") == user.id or claim.get("name") == user.name:
            if user.enabled and secrets.compare_digest(str(claim.get("password", "")), user.password):
                return user
            break
    raise Refused(401, NO_TOKEN)


def _checked_credential(state: State, claim: Json) -> ApplicationCredential:
    owner = claim.get("user", {})
    for credential in state.credentials.values():
        user = state.users[credential.user_id]
        named = claim.get("name") == credential.name and owner.get("name", owner.get("id")) in (user.name, user.id)
        if claim.get("id") == credential.id or named:
            alive = credential.expires_at is None or credential.expires_at > state.now()
            if alive and secrets.compare_digest(str(claim.get("secret", "")), credential.secret):
                return credential
            break
    raise Refused(401, NO_TOKEN)


def _scope(state: State, user: User, scope: object) -> str | None:
    if scope is None:
        return user.default_project_id
    if not isinstance(scope, dict) or not isinstance(scope.get("project"), dict):
        return None
    wanted = scope["project"]
    for project in state.projects.values():
        if wanted.get("id") == project.id or wanted.get("name") == project.name:
            return project.id
    raise Refused(401, NO_TOKEN)


def describe_token(call: Call, token: Token) -> Json:
    """The token's document: user, project, roles, times and, for a scoped one, the catalogue."""
    user = call.state.users[token.user_id]
    described: Json = {
        "methods": list(token.methods),
        "user": {"domain": DEFAULT_DOMAIN, "id": user.id, "name": user.name, "password_expires_at": None},
        "audit_ids": [token.audit_id],
        "expires_at": token.expires_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        "issued_at": token.issued_at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
    }
    if token.project_id:
        project = call.state.projects[token.project_id]
        described["project"] = {"domain": DEFAULT_DOMAIN, "id": project.id, "name": project.name}
        described["is_domain"] = False
        described["roles"] = [{"id": role_id(role), "name": role} for role in token.roles]
        described["catalog"] = build_catalogue(call.origin, call.state.region, project.id)
    if token.application_credential_id:
        credential = call.state.credentials[token.application_credential_id]
        described["application_credential"] = {
            "id": credential.id,
            "name": credential.name,
            "restricted": True,
        }
    return described


def role_id(name: str) -> str:
    """A stable id for a role."""
    return name.encode().hex().ljust(32, "0")[:32]


def _subject(call: Call) -> Token:
    token = call.state.tokens.get(call.request.headers.get("x-subject-token", ""))
    if token is None or token.expires_at <= call.state.now():
        raise Refused(404, "Could not recognize Fernet token")
    if token.id != call.caller.token_id and not call.caller.roles & {"admin", "service"}:
        raise Refused(
            403,
            "You are not authorized to perform the requested action: identity:validate_token.",
        )
    return token


def validate_token(call: Call) -> Response:
    """GET /auth/tokens: the caller's own token, or anybody's for an administrator."""
    token = _subject(call)
    return answer(200, {"token": describe_token(call, token)}, X_Subject_Token=token.id)


def check_token(call: Call) -> Response:
    """HEAD /auth/tokens."""
    return answer(200, X_Subject_Token=_subject(call).id)


def revoke_token(call: Call) -> Response:
    """DELETE /auth/tokens."""
    del call.state.tokens[_subject(call).id]
    return answer(204)


TOKEN_ROUTES = [
    Route("POST", "v3/auth/tokens", issue_token, public=True),
    Route("GET", "v3/auth/tokens", validate_token),
    Route("HEAD", "v3/auth/tokens", check_token),
    Route("DELETE", "v3/auth/tokens", revoke_token),
]
