"""slipway region ..., slipway node-spec ... and slipway alert ..."""

from typing import Annotated

import typer

from slipway_cli.context import Columns, Form, desk_of, show_list
from slipway_cli.output import Format

app = typer.Typer(help="Regions: look at.", no_args_is_help=True)
node_specs = typer.Typer(help="Node specs: machines of a region that pools refer to.", no_args_is_help=True)
alerts = typer.Typer(help="Alerts: look at.", no_args_is_help=True)


@app.command("list")
def list_(context: typer.Context, form: Form = Format.TABLE, column: Columns = None) -> None:
    """List the regions, their Kubernetes releases and what you get there by default."""
    shown = ("name", "releases", "zones", "default_release", "default_image", "default_network", "default_flavors")
    show_list(desk_of(context).client.get("/v1/regions")["items"], shown, column, form)


@node_specs.command("list")
def list_node_specs(context: typer.Context, form: Form = Format.TABLE, column: Columns = None) -> None:
    """List the descriptions of machines that pools refer to as NAME or NAME@VERSION, newest versions first."""
    desk = desk_of(context)
    query = {"region": desk.options.slipway_region} if desk.options.slipway_region else {}
    shown = ("region", "name", "version", "flavor", "image", "root_volume", "runtime", "kubelet", "description")
    show_list(desk.client.get("/v1/node-specs", **query)["items"], shown, column, form)


@alerts.command("list")
def list_alerts(
    context: typer.Context,
    cluster: Annotated[str | None, typer.Option(help="Only those of this cluster.")] = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Also those whose cause is gone.")] = False,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """List the alerts of the project's clusters."""
    query = {"cluster": cluster, "resolved": str(resolved).lower()}
    rows = desk_of(context).client.get("/v1/alerts", **query)["items"]
    show_list(rows, ("raised_at", "severity", "name", "message", "resolved_at"), column, form)
