"""What every command starts from: the options before it, a client when it needs one, and how it prints."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from slipway_cli.client import Client
from slipway_cli.output import Format, Row, print_list, print_object
from slipway_cli.session import Options, log_in
from slipway_cli.watching import watch_operation

Form = Annotated[Format, typer.Option("-f", "--format", help="How to print the result.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("-c", "--column", help="Print only this column; may be repeated.", show_default=False),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Show the progress until the end, or return at once.")]


class Desk:
    """The options of one call of the command, and the client made of them."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """A client that is logged in; made at the first use."""
        if self._client is None:
            self._client = Client(log_in(self.options))
        return self._client

    def close(self) -> None:
        """Close what was opened."""
        if self._client is not None:
            self._client.close()

    def follow(self, accepted: dict[str, Any], *, wait: bool) -> dict[str, Any]:
        """Watch the accepted operation to its end, or say how to come back to it; returns the operation."""
        operation: dict[str, Any] = accepted["operation"]
        if wait:
            return watch_operation(self.client.login, operation["id"])
        typer.echo(f"Accepted. Watch it with: slipway operation watch {operation['id']}", err=True)
        return operation


def desk_of(context: typer.Context) -> Desk:
    """The desk of this call."""
    desk = context.obj
    assert isinstance(desk, Desk), "the callback before every command makes it"
    return desk


def show_list(rows: Sequence[Row], shown: Sequence[str], columns: list[str] | None, form: Format) -> None:
    """Print a list as the user asked for."""
    print_list(rows, shown, columns or (), form)


def show_object(row: Row, shown: Sequence[str], columns: list[str] | None, form: Format) -> None:
    """Print an object as the user asked for."""
    print_object(row, shown, columns or (), form)
