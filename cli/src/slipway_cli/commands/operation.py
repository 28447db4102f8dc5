"""slipway operation ..."""

from typing import Annotated

import typer

from slipway_cli.client import path_of
from slipway_cli.context import Columns, Form, desk_of, show_list, show_object
from slipway_cli.output import Format, age
from slipway_cli.watching import watch_operation

app = typer.Typer(help="Operations: look at, watch.", no_args_is_help=True)

LISTED = ("id", "kind", "cluster", "state", "percent", "age", "cause")
SHOWN = (
    "id", "kind", "cluster", "state", "percent", "cause", "parameters", "steps", "requested_by", "requested_at",
    "finished_at",
)  # fmt: skip

Id = Annotated[str, typer.Argument(help="The operation's id.", show_default=False)]


@app.command("list")
def list_(
    context: typer.Context,
    cluster: Annotated[str | None, typer.Option(help="Only those of this cluster.")] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only those in this state; may be repeated.")] = None,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """List the project's operations, newest first."""
    rows = desk_of(context).client.pages("/v1/operations", cluster=cluster, state=state)
    show_list([row | {"age": age(row["requested_at"])} for row in rows], LISTED, column, form)


@app.command("show")
def show(context: typer.Context, operation: Id, form: Form = Format.TABLE, column: Columns = None) -> None:
    """Show an operation."""
    row = desk_of(context).client.get(path_of("operations", operation))
    if form in (Format.TABLE, Format.VALUE):
        row = row | {"steps": [f"{step['title']}: {step['state']}" for step in row["steps"]]}
    show_object(row, SHOWN, column, form)


@app.command("watch")
def watch(context: typer.Context, operation: Id) -> None:
    """Show how an operation goes on, until it ends. Ctrl-C detaches."""
    watch_operation(desk_of(context).client.login, operation)
