"""slipway cluster ..."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from slipway_cli.client import path_of
from slipway_cli.context import Columns, Desk, Form, Wait, desk_of, show_list, show_object
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.output import Format

app = typer.Typer(help="Clusters: create, look at, enter, delete.", no_args_is_help=True)

LISTED = ("name", "state", "release", "region", "nodes", "endpoint", "reason")
SHOWN = (
    "id", "name", "state", "reason", "region", "release", "endpoint", "nodes", "pools", "addons", "users",
    "pod_cidr", "service_cidr", "generation", "operation_id", "created_at",
)  # fmt: skip

Name = Annotated[str, typer.Argument(help="The cluster's name or id.", show_default=False)]
Zones = Annotated[
    list[str] | None, typer.Option("--zone", help="An availability zone; may be repeated.", show_default=False)
]


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="A DNS label, unique in the project.", show_default=False)] = None,
    etcd: Annotated[int | None, typer.Option(help="etcd nodes: 1, 3, 5 or 7; 5 by default.")] = None,
    controllers: Annotated[int | None, typer.Option(help="Controllers: 1 to 5; 3 by default.")] = None,
    workers: Annotated[int | None, typer.Option(help="Workers; 3 by default.")] = None,
    release: Annotated[str | None, typer.Option(help="Kubernetes release, as v1.36.3.")] = None,
    network: Annotated[str | None, typer.Option(help="Name or id of the nodes' network.")] = None,
    image: Annotated[str | None, typer.Option(help="Name or id of the machines' image.")] = None,
    flavor: Annotated[str | None, typer.Option(help="Name or id of the machines' flavor.")] = None,
    etcd_flavor: Annotated[str | None, typer.Option(help="Another one for etcd.")] = None,
    controller_flavor: Annotated[str | None, typer.Option(help="Another one for controllers.")] = None,
    worker_flavor: Annotated[str | None, typer.Option(help="Another one for workers.")] = None,
    zone: Zones = None,
    pod_cidr: Annotated[str | None, typer.Option(help="Range of the pods' addresses.")] = None,
    service_cidr: Annotated[str | None, typer.Option(help="Range of the services' addresses.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="The request as YAML or JSON; options go before what it says.")
    ] = None,
    wait: Wait = True,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """Create a cluster and show how it comes up."""
    desk = desk_of(context)
    request = _from_file(file) if file is not None else {}
    asked = {
        "name": name,
        "region": desk.options.slipway_region,
        "release": release,
        "network": network,
        "image": image,
        "flavor": flavor,
        "zones": zone,
        "pod_cidr": pod_cidr,
        "service_cidr": service_cidr,
    }
    request.update({key: value for key, value in asked.items() if value is not None})
    _add_pool(request, "etcd", etcd, etcd_flavor, 5)
    _add_pool(request, "controller", controllers, controller_flavor, 3)
    _add_pool(request, "worker", workers, worker_flavor, 3)
    if "name" not in request:
        raise CommandFailed(Exit.USAGE, "Give the cluster a name: slipway cluster create NAME.")
    accepted = desk.client.post("/v1/clusters", request)
    desk.follow(accepted, wait=wait)
    _show(desk, accepted["cluster"]["id"], column, form)
    if wait and form is Format.TABLE:
        typer.echo(f"Enter it with: slipway cluster kubeconfig {request['name']}", err=True)


def _add_pool(request: dict[str, Any], role: str, count: int | None, flavor: str | None, usual: int) -> None:
    if count is None and flavor is None:
        return
    pools = request["pools"] = request.get("pools") or []
    pool = next((pool for pool in pools if pool.get("role", "worker") == role), None)
    if pool is None:
        pool = {"name": role, "role": role, "count": usual}
        pools.append(pool)
    if count is not None:
        pool["count"] = count
    if flavor is not None:
        pool["flavor"] = flavor


def _from_file(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise CommandFailed(Exit.USAGE, f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CommandFailed(Exit.USAGE, f"{path} is neither YAML nor JSON.") from error
    if not isinstance(document, dict):
        raise CommandFailed(Exit.USAGE, f"{path} does not describe a cluster: it is no mapping.")
    pools = document.get("pools") or []
    if not isinstance(pools, list) or not all(isinstance(pool, dict) for pool in pools):
        raise CommandFailed(Exit.USAGE, f"{path} does not describe a cluster: its pools are no list of mappings.")
    try:
        json.dumps(document)
    except TypeError as error:
        # YAML takes an unquoted 2026-01-01 for a date
        raise CommandFailed(
            Exit.USAGE, f"{path} has a value that JSON has not, such as a date; put it in quotes."
        ) from error
    return document


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[
        list[str] | None, typer.Option(help="Only clusters in this state; may be repeated.", show_default=False)
    ] = None,
    form: Form = Format.TABLE,
    column: Columns = None,
) -> None:
    """List the project's clusters."""
    rows = [_with_nodes(row) for row in desk_of(context).client.pages("/v1/clusters", state=state)]
    show_list(rows, LISTED, column, form)


@app.command("show")
def show(context: typer.Context, name: Name, form: Form = Format.TABLE, column: Columns = None) -> None:
    """Show a cluster."""
    _show(desk_of(context), name, column, form)


def _show(desk: Desk, name: str, column: list[str] | None, form: Format) -> None:
    cluster = desk.client.get(path_of("clusters", name))
    if form in (Format.TABLE, Format.VALUE):
        cluster = _with_nodes(cluster) | {
            "pools": [f"{pool['name']} {pool['ready']}/{pool['count']}" for pool in cluster["pools"]],
            "addons": [f"{addon['name']} {addon['phase']}" for addon in cluster["addons"]],
            "users": [user["name"] for user in cluster["users"]],
        }
    show_object(cluster, SHOWN, column, form)


def _with_nodes(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"nodes": f"{row['nodes_ready']}/{row['nodes_wanted']}"}


@app.command("delete")
def delete(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = True,
) -> None:
    """Delete a cluster with everything in it. This is never withdrawn."""
    desk = desk_of(context)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete the cluster {name} with all its nodes?", abort=True, err=True)
    desk.follow(desk.client.delete(path_of("clusters", name)), wait=wait)
