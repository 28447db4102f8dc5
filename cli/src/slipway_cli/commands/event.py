"""slipway event ..."""

import json
import sys
from typing import Annotated, Any

import typer

from slipway_cli.context import Columns, Form, desk_of, show_list
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.output import Format, plain
from slipway_cli.watching import follow_events

app = typer.Typer(help="Events: look at, follow.", no_args_is_help=True)

LISTED = ("time", "type", "message")


@app.command("list")
def list_(
    context: typer.Context,
    cluster: Annotated[str | None, typer.Option(help="Only those of this cluster.")] = None,
    operation: Annotated[str | None, typer.Option(help="Only those of this operation.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new ones until Ctrl-C.")] = False,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """List what happened to the project's clusters, oldest first."""
    client = desk_of(context).client
    query = {name: value for name, value in (("cluster", cluster), ("operation", operation)) if value is not None}
    if follow:
        if form is Format.YAML:
            raise CommandFailed(Exit.USAGE, "A stream has no YAML form; use -f json (a line an event) or table.")
        follow_events(client.login, query | {"after": "0"}, lambda event: _print(event, column or LISTED, form))
        return
    show_list(list(client.events(**query)), LISTED, column, form)


def _print(event: dict[str, Any], columns: Any, form: Format) -> None:
    if form is Format.JSON:
        sys.stdout.write(json.dumps(event, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("  ".join(plain(event.get(column)) for column in columns) + "\n")
    sys.stdout.flush()
