"""Keystone's directory: projects, users, roles, domains and application credentials."""

from __future__ import annotations

from datetime import UTC, datetime

from slipway_sandbox.cloud.keystone.tokens import effective_roles, role_id
from slipway_sandbox.cloud.messages import Json, Refused, Response, answer
from slipway_sandbox.cloud.model import DEFAULT_DOMAIN, ApplicationCredential, Project, User
from slipway_sandbox.cloud.service import Call, Route, require_admin

ROLES = ("reader", "member", "admin", "service", "load-balancer_member")


def _denied(action: str) -> str:
    return f"You are not authorized to perform the requested action: identity:{action}."


def _project(call: Call, project: Project) -> Json:
    return {
        "id": project.id,
        "name": project.name,
        "domain_id": "default",
        "description": "",
        "enabled": True,
        "parent_id": "default",
        "is_domain": False,
        "tags": [],
        "options": {},
        "links": {"self": f"{call.base}/v3/projects/{project.id}"},
    }


def _user(call: Call, user: User) -> Json:
    return {
        "id": user.id,
        "name": user.name,
        "domain_id": "default",
        "enabled": user.enabled,
        "default_project_id": user.default_project_id,
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"{call.base}/v3/users/{user.id}"},
    }


def _listing(call: Call, plural: str, items: list[Json]) -> Response:
    wanted = {key: call.request.first(key) for key in ("name", "domain_id") if key in call.request.query}
    kept = [item for item in items if all(item.get(key) == value for key, value in wanted.items())]
    href = f"{call.base}/{'/'.join(call.request.path.strip('/').split('/')[1:])}"
    return answer(200, {plural: kept, "links": {"next": None, "self": href, "previous": None}})


def list_projects(call: Call) -> Response:
    """All projects: administrators only."""
    require_admin(call, _denied("list_projects"))
    return _listing(call, "projects", [_project(call, project) for project in call.state.projects.values()])


def list_own_projects(call: Call) -> Response:
    """The projects in which the caller has a role."""
    state = call.state
    mine = [
        _project(call, project)
        for project in state.projects.values()
        if effective_roles(state, call.caller.user_id, project.id)
    ]
    return _listing(call, "projects", mine)


def show_project(call: Call) -> Response:
    """One project: the caller's own, any for an administrator."""
    wanted = call.params["id"]
    if wanted != call.caller.project_id:
        require_admin(call, _denied("get_project"))
    project = call.state.projects.get(wanted)
    if project is None:
        raise Refused(404, f"Could not find project: {wanted}.")
    return answer(200, {"project": _project(call, project)})


def list_users(call: Call) -> Response:
    """All users: administrators only."""
    require_admin(call, _denied("list_users"))
    return _listing(call, "users", [_user(call, user) for user in call.state.users.values()])


def show_user(call: Call) -> Response:
    """One user: oneself, anybody for an administrator."""
    wanted = call.params["id"]
    if wanted != call.caller.user_id:
        require_admin(call, _denied("get_user"))
    user = call.state.users.get(wanted)
    if user is None:
        raise Refused(404, f"Could not find user: {wanted}.")
    return answer(200, {"user": _user(call, user)})


def list_user_projects(call: Call) -> Response:
    """The projects of one user."""
    wanted = call.params["id"]
    if wanted != call.caller.user_id:
        require_admin(call, _denied("list_user_projects"))
    state = call.state
    found = [_project(call, p) for p in state.projects.values() if effective_roles(state, wanted, p.id)]
    return _listing(call, "projects", found)


def list_domains(call: Call) -> Response:
    """The one domain."""
    require_admin(call, _denied("list_domains"))
    return _listing(call, "domains", [{**DEFAULT_DOMAIN, "description": "", "enabled": True, "tags": []}])


def list_roles(call: Call) -> Response:
    """The roles of this cloud."""
    require_admin(call, _denied("list_roles"))
    return _listing(call, "roles", [{"id": role_id(name), "name": name, "domain_id": None} for name in ROLES])


def list_assignments(call: Call) -> Response:
    """Who has which role where."""
    require_admin(call, _denied("list_role_assignments"))
    state = call.state
    found: list[Json] = []
    for assignment in state.assignments:
        user = state.users[assignment.user_id]
        scope: Json = {"domain": DEFAULT_DOMAIN, "OS-INHERIT:inherited_to": "projects"}
        if assignment.project_id:
            project = state.projects[assignment.project_id]
            scope = {"project": {"id": project.id, "name": project.name, "domain": DEFAULT_DOMAIN}}
        found.append(
            {
                "scope": scope,
                "user": {"id": user.id, "name": user.name, "domain": DEFAULT_DOMAIN},
                "role": {"id": role_id(assignment.role), "name": assignment.role},
            }
        )
    return _listing(call, "role_assignments", found)


def _credential(credential: ApplicationCredential) -> Json:
    return {
        "id": credential.id,
        "name": credential.name,
        "project_id": credential.project_id,
        "user_id": credential.user_id,
        "description": None,
        "expires_at": credential.expires_at.isoformat() if credential.expires_at else None,
        "roles": [{"id": role_id(role), "name": role} for role in credential.roles],
        "unrestricted": False,
    }


def _own_user(call: Call, action: str) -> str:
    if call.params["user"] != call.caller.user_id:
        raise Refused(403, _denied(action))
    return call.params["user"]


def create_credential(call: Call) -> Response:
    """A new application credential of the caller; the secret is shown once."""
    user_id = _own_user(call, "create_application_credential")
    body = call.body("application_credential")
    state = call.state
    if any(c.user_id == user_id and c.name == body.get("name") for c in state.credentials.values()):
        raise Refused(
            409,
            "Conflict occurred attempting to store application_credential - Duplicate entry found with name"
            f" {body.get('name')}.",
        )
    wanted = [role["name"] for role in body.get("roles", []) if "name" in role]
    expires = body.get("expires_at")
    credential = ApplicationCredential(
        id=state.new_hex(),
        name=str(body.get("name")),
        secret=str(body.get("secret") or state.new_hex() + state.new_hex()),
        user_id=user_id,
        project_id=call.caller.project,
        roles=tuple(wanted or call.caller.roles),
        expires_at=datetime.fromisoformat(expires).replace(tzinfo=UTC) if expires else None,
    )
    state.credentials[credential.id] = credential
    shown = {**_credential(credential), "secret": credential.secret}
    return answer(201, {"application_credential": shown})


def list_credentials(call: Call) -> Response:
    """The caller's application credentials."""
    user_id = _own_user(call, "list_application_credentials")
    own = [_credential(c) for c in call.state.credentials.values() if c.user_id == user_id]
    return _listing(call, "application_credentials", own)


def delete_credential(call: Call) -> Response:
    """Delete a credential, and with it the tokens made with it."""
    _own_user(call, "delete_application_credential")
    state, wanted = call.state, call.params["id"]
    if state.credentials.pop(wanted, None) is None:
        raise Refused(404, f"Could not find Application Credential: {wanted}.")
    for token in [t for t in state.tokens.values() if t.application_credential_id == wanted]:
        del state.tokens[token.id]
    return answer(204)


DIRECTORY_ROUTES = [
    Route("GET", "v3/auth/projects", list_own_projects),
    Route("GET", "v3/projects", list_projects),
    Route("GET", "v3/projects/{id}", show_project),
    Route("GET", "v3/users", list_users),
    Route("GET", "v3/users/{id}", show_user),
    Route("GET", "v3/users/{id}/projects", list_user_projects),
    Route("GET", "v3/domains", list_domains),
    Route("GET", "v3/roles", list_roles),
    Route("GET", "v3/role_assignments", list_assignments),
    Route("POST", "v3/users/{user}/application_credentials", create_credential),
    Route("GET", "v3/users/{user}/application_credentials", list_credentials),
    Route("DELETE", "v3/users/{user}/application_credentials/{id}", delete_credential),
]
