"""The command `slipway`: its options, its commands, and the one place where failures become exit codes."""

import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from slipway_cli.commands import access, cluster, event, node, operation, pool, region
from slipway_cli.context import Desk
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.session import Options

EPILOGUE = (
    "Exit codes: 0 done, 1 the operation failed, 2 wrong command line, 3 no cloud configured or refused by Keystone, "
    "4 not found, 5 the request was refused, 6 API or Keystone not reachable, 130 detached by Ctrl-C."
)


class SlipwayGroup(TyperGroup):
    """Takes its own options anywhere on the line, as `openstack` does, and turns failures into exit codes."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the options that belong before the command to the front."""
        takes_value = {
            name: not getattr(parameter, "is_flag", False)
            for parameter in self.params
            for name in getattr(parameter, "opts", ())
            if name.startswith("--") and name != "--help"
        }
        front: list[str] = []
        rest: list[str] = []
        index = 0
        while index < len(args):
            name, assigned, _ = args[index].partition("=")
            taken = 1
            if name in takes_value and takes_value[name] and not assigned:
                taken = 2
            (front if name in takes_value else rest).extend(args[index : index + taken])
            index += taken
        return super().parse_args(ctx, [*front, *rest])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; every failure is a sentence and a code."""
        try:
            return super().invoke(ctx)
        except CommandFailed as failure:
            sys.stderr.write(f"slipway: {failure.message}\n")
            for detail in failure.details:
                sys.stderr.write(f"  {detail}\n")
            raise typer.Exit(int(failure.code)) from failure
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(int(Exit.DETACHED)) from interrupt
        except BrokenPipeError as closed:
            raise typer.Exit(int(Exit.OK)) from closed


app = typer.Typer(
    cls=SlipwayGroup,
    help="Kubernetes clusters in your own project of the cloud.",
    epilog=EPILOGUE,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cluster.app.add_typer(access.app)
app.add_typer(cluster.app, name="cluster")
app.add_typer(pool.app, name="pool")
app.add_typer(node.app, name="node")
app.add_typer(operation.app, name="operation")
app.add_typer(event.app, name="event")
app.add_typer(region.app, name="region")
app.add_typer(region.node_specs, name="node-spec")
app.add_typer(region.alerts, name="alert")

Hidden = Annotated[str | None, typer.Option(hidden=True)]


@app.callback()
def before(
    context: typer.Context,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="The API's address; SLIPWAY_ENDPOINT, else the cloud's catalogue.")
    ] = None,
    slipway_region: Annotated[str | None, typer.Option("--region", help="See `slipway region list`.")] = None,
    os_cloud: Annotated[str | None, typer.Option("--os-cloud", help="The entry of clouds.yaml; OS_CLOUD.")] = None,
    os_auth_url: Annotated[str | None, typer.Option("--os-auth-url", help="OS_AUTH_URL")] = None,
    os_auth_type: Annotated[str | None, typer.Option("--os-auth-type", help="OS_AUTH_TYPE")] = None,
    os_username: Annotated[str | None, typer.Option("--os-username", help="OS_USERNAME")] = None,
    os_password: Annotated[str | None, typer.Option("--os-password", help="OS_PASSWORD")] = None,
    os_token: Annotated[str | None, typer.Option("--os-token", help="OS_TOKEN")] = None,
    os_project_name: Annotated[str | None, typer.Option("--os-project-name", help="OS_PROJECT_NAME")] = None,
    os_project_id: Annotated[str | None, typer.Option("--os-project-id", help="OS_PROJECT_ID")] = None,
    os_user_domain_name: Annotated[str | None, typer.Option("--os-user-domain-name")] = None,
    os_project_domain_name: Annotated[str | None, typer.Option("--os-project-domain-name")] = None,
    os_region_name: Annotated[str | None, typer.Option("--os-region-name", help="OS_REGION_NAME")] = None,
    os_cacert: Annotated[str | None, typer.Option("--os-cacert", help="OS_CACERT")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Do not verify certificates.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an unexpected error comes from.")] = False,
) -> None:
    """Kubernetes clusters in your own project of the cloud."""
    auth = {
        "auth_url": os_auth_url,
        "username": os_username,
        "password": os_password,
        "token": os_token,
        "project_name": os_project_name,
        "project_id": os_project_id,
        "user_domain_name": os_user_domain_name,
        "project_domain_name": os_project_domain_name,
    }
    desk = Desk(
        Options(
            endpoint=endpoint,
            slipway_region=slipway_region,
            cloud=os_cloud,
            auth={name: value for name, value in auth.items() if value is not None},
            auth_type=os_auth_type,
            region_name=os_region_name,
            cacert=os_cacert,
            insecure=insecure,
            debug=debug,
        )
    )
    context.obj = desk
    context.call_on_close(desk.close)


def run() -> None:
    """The entry point: unexpected errors are one sentence too, unless --debug asks for more."""
    try:
        app(prog_name="slipway")
    except Exception as mistake:  # noqa: BLE001  the last resort of a command
        if "--debug" in sys.argv:
            traceback.print_exc()
        else:
            sys.stderr.write(f"slipway: unexpected {type(mistake).__name__}: {mistake}; --debug shows where.\n")
        sys.exit(int(Exit.FAILED))
