"""slipway node ..."""

from typing import Annotated, Any

import typer

from slipway_cli.client import path_of
from slipway_cli.context import Columns, Form, desk_of, show_list, show_object
from slipway_cli.output import Format, age

app = typer.Typer(help="Nodes: look at.", no_args_is_help=True)

LISTED = ("name", "pool", "role", "zone", "state", "step", "percent", "age", "addresses", "reason")
SHOWN = (
    "id", "name", "pool", "role", "zone", "state", "reason", "step", "percent", "age", "since", "addresses",
    "server_id", "server_state", "host", "incarnation", "replaces", "steps", "witnesses", "notices", "evidence",
)  # fmt: skip

Cluster = Annotated[str, typer.Argument(help="The cluster's name or id.", show_default=False)]


@app.command("list")
def list_(
    context: typer.Context,
    cluster: Cluster,
    pool: Annotated[str | None, typer.Option(help="Only nodes of this pool.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only nodes in this state; may be repeated.")] = None,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """List the nodes of a cluster: how far each is, since when, and why if it stands still."""
    rows = desk_of(context).client.pages(path_of("clusters", cluster, "nodes"), pool=pool, state=state)
    show_list([row | {"age": age(row["created_at"])} for row in rows], LISTED, column, form)


@app.command("show")
def show(
    context: typer.Context,
    cluster: Cluster,
    node: Annotated[str, typer.Argument(help="The node's name or id.", show_default=False)],
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """Show a node, also one that is gone: its steps, what each witness sees, and the evidence if it did not come up."""
    row = desk_of(context).client.get(path_of("clusters", cluster, "nodes", node))
    if form in (Format.TABLE, Format.VALUE):
        row = row | {
            "age": age(row["created_at"]),
            "steps": [_step(step) for step in row["steps"]],
            "evidence": _evidence(row["evidence"]),
            "witnesses": [f"{each['name']}: {each['verdict']} ({each['saw']})" for each in row["witnesses"]],
        }
    show_object(row, SHOWN, column, form)


def _evidence(kept: dict[str, Any] | None) -> str:
    """Whose it is, then what was said."""
    if kept is None:
        return ""
    told = [f"of server {kept['incarnation']}"] if kept.get("incarnation") else []
    told += [f"taken {kept['taken_at']}"] if kept.get("taken_at") else []
    told += [f"last step: {kept['last_step']}"] if kept.get("last_step") else []
    logs = [f"--- {name} ---\n{kept[name].strip()}" for name in ("console", "agent") if kept.get(name)]
    return "\n".join([", ".join(told), *logs])


def _step(step: dict[str, Any]) -> str:
    message = f" ({step['message']})" if step.get("message") else ""
    return f"{step['title']}: {step['state']}{message}"
