"""slipway-admin dead-letters ..."""

import json
from collections.abc import Sequence
from typing import Annotated

import aio_pika
import typer

from slipway_admin.broker import connected, queue_state
from slipway_admin.context import Desk, Form, desk_of, run
from slipway_admin.errors import CommandFailed, Exit
from slipway_admin.letters import Letter, opened, replay
from slipway_admin.output import Format, console, print_json, print_rows
from slipway_chassis.amqp import user_of

app = typer.Typer(help="Messages that could not be handled: look, replay, drop.", no_args_is_help=True)

LISTED = ("id", "queue", "buried_at", "routing_key", "subject", "cause")
Service = Annotated[str | None, typer.Option(help="Only this service's, e.g. healer or healer/tokyo.")]
Limit = Annotated[int, typer.Option(min=1, help="Look at no more than so many.")]
Ids = Annotated[list[str] | None, typer.Argument(help="As `list` shows them.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All of them (with --service: of this service).")]


@app.command("list")
def list_(context: typer.Context, service: Service = None, limit: Limit = 200, form: Form = Format.TABLE) -> None:
    """Show what could not be handled and why, oldest first."""

    async def work() -> list[dict[str, object]]:
        desk = desk_of(context)
        async with connected(desk.configuration) as connection:
            queues = await _there(connection, desk.letter_queues(service))
            async with opened(connection, desk.names, queues, limit) as letters:
                return [letter.row() for letter in letters]

    print_rows(run(work()), LISTED, form)


@app.command()
def show(
    context: typer.Context, id_: Annotated[str, typer.Argument(metavar="ID")], limit: Limit = 1000,
    form: Form = Format.TABLE,
) -> None:  # fmt: skip
    """Show one with its message."""

    async def work() -> dict[str, object]:
        desk = desk_of(context)
        async with connected(desk.configuration) as connection:
            queues = await _there(connection, desk.letter_queues(None))
            async with opened(connection, desk.names, queues, limit) as letters:
                (letter, *_) = _chosen(letters, [id_], everything=False)
                body = letter.document or letter.body.decode(errors="replace")
                return {**letter.row(), "back_to": letter.back_to, "message": body}

    row = run(work())
    if form is Format.JSON:
        print_json(row)
        return
    message = row.pop("message")
    for name, value in row.items():
        console().print(f"{name.replace('_', ' ')}: {value}", markup=False)
    console().print(message if isinstance(message, str) else json.dumps(message, indent=2), markup=False)


@app.command("replay")
def replay_(
    context: typer.Context, ids: Ids = None, everything: All = False, service: Service = None, limit: Limit = 1000
) -> None:
    """Put messages back into the queue they came from. Harmless twice: what is stale there changes nothing."""

    async def work(desk: Desk) -> None:
        user = user_of(desk.configuration.amqp_url)
        failed = []
        async with connected(desk.configuration) as connection:
            queues = await _there(connection, desk.letter_queues(service))
            async with opened(connection, desk.names, queues, limit) as letters:
                for letter in _chosen(letters, ids, everything=everything):
                    try:
                        await replay(connection, user, letter)
                        typer.echo(f"{letter.id} is in {letter.back_to} again.")
                    except (LookupError, TimeoutError, aio_pika.exceptions.AMQPError) as why:
                        failed.append(f"{letter.id} stays: {why or type(why).__name__}")
        if failed:
            raise CommandFailed(Exit.FOUND, "\n".join(failed))

    run(work(desk_of(context)))


@app.command()
def drop(
    context: typer.Context,
    ids: Ids = None,
    everything: All = False,
    service: Service = None,
    limit: Limit = 1000,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget messages for good. What they said is said again by the next resync, if it is still true."""

    async def work(desk: Desk) -> None:
        async with connected(desk.configuration) as connection:
            queues = await _there(connection, desk.letter_queues(service))
            async with opened(connection, desk.names, queues, limit) as letters:
                chosen = _chosen(letters, ids, everything=everything)
                if not yes:
                    typer.confirm(f"Drop {len(chosen)} messages for good?", abort=True)
                for letter in chosen:
                    await letter.message.ack()
                    typer.echo(f"{letter.id} is dropped.")

    run(work(desk_of(context)))


async def _there(connection: aio_pika.abc.AbstractConnection, queues: Sequence[str]) -> list[str]:
    """Those of the queues that exist."""
    return [name for name in queues if await queue_state(connection, name) is not None]


def _chosen(letters: Sequence[Letter], ids: Sequence[str] | None, *, everything: bool) -> list[Letter]:
    """Those that were asked for, each copy of them; CommandFailed names an id that is not there."""
    if everything == bool(ids):
        raise CommandFailed(Exit.CANNOT, "Give the ids of the letters, or --all.")
    wanted = set(ids or ())
    missing = wanted - {letter.id for letter in letters}
    if missing:
        raise CommandFailed(Exit.FOUND, f"There is no dead letter {', '.join(sorted(missing))}.")
    return [letter for letter in letters if everything or letter.id in wanted]
