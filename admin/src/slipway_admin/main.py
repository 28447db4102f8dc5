"""The command `slipway-admin`: its options, its commands, and the one place where failures become exit codes."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from slipway_admin.commands import dead_letters, resync
from slipway_admin.commands.doctor import doctor
from slipway_admin.configuration import load_configuration
from slipway_admin.context import Desk
from slipway_admin.errors import CommandFailed, Exit

EPILOGUE = "Exit codes: 0 done, 1 something was found or could not be done, 2 wrong command line, or could not look."


class AdminGroup(TyperGroup):
    """Turns failures into exit codes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; every failure is a sentence and a code."""
        try:
            return super().invoke(ctx)
        except CommandFailed as failure:
            sys.stderr.write(f"slipway-admin: {failure.message}\n")
            raise typer.Exit(int(failure.code)) from failure


app = typer.Typer(
    cls=AdminGroup,
    help="For operators of Slipway: what is wrong, and what can be mended by hand.",
    epilog=EPILOGUE,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(resync.app, name="resync")
app.command("doctor")(doctor)


@app.callback()
def before(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="slipway-admin.yaml.", envvar="SLIPWAY_ADMIN_CONFIG", show_default=False)
    ] = None,
    amqp_url: Annotated[
        str | None, typer.Option(hidden=True, envvar="SLIPWAY_ADMIN_AMQP_URL", show_envvar=False)
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="The platform's bus namespace; `slipway` by default.")] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="A region of the platform, where the configuration names no services.")
    ] = None,
) -> None:
    """For operators of Slipway: what is wrong, and what can be mended by hand."""
    configuration = load_configuration(config, amqp_url)
    if namespace is not None:
        configuration = configuration.model_copy(update={"namespace": namespace})
    context.obj = Desk(configuration, tuple(region or ()))


def run() -> None:
    """The entry point."""
    try:
        app(prog_name="slipway-admin")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as mistake:  # noqa: BLE001  the last resort of a command
        sys.stderr.write(f"slipway-admin: unexpected {type(mistake).__name__}: {mistake}\n")
        sys.exit(int(Exit.CANNOT))
