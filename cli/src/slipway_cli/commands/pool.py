"""slipway pool ..."""

from typing import Annotated

import typer

from slipway_cli import machines
from slipway_cli.client import path_of
from slipway_cli.context import Columns, Form, Wait, desk_of, show_list, show_object
from slipway_cli.errors import CommandFailed, Exit
from slipway_cli.output import Format

app = typer.Typer(help="Node pools: look at, add, scale, change, remove.", no_args_is_help=True)

LISTED = ("name", "role", "count", "ready", "node_spec", "flavor_id", "zones", "labels", "held_back")
SHOWN = (
    "id", "name", "role", "count", "ready", "node_spec", "flavor_id", "image_id", "network_id", "root_volume",
    "runtime", "kubelet", "zones", "labels", "taints", "health", "held_back",
)  # fmt: skip

Cluster = Annotated[str, typer.Argument(help="The cluster's name or id.", show_default=False)]
Pool = Annotated[str, typer.Argument(help="The pool's name or id.", show_default=False)]


def _with_refusals(row: dict[str, object]) -> dict[str, object]:
    refusals = row["refusals"]
    assert isinstance(refusals, list), "the API answers a list"
    return row | {"held_back": [refusal["reason"]["message"] for refusal in refusals]}


@app.command("list")
def list_(context: typer.Context, cluster: Cluster, form: Form = Format.TABLE, column: Columns = None) -> None:
    """List the pools of a cluster."""
    rows = desk_of(context).client.get(path_of("clusters", cluster, "pools"))["items"]
    show_list([_with_refusals(row) for row in rows], LISTED, column, form)


@app.command("show")
def show(
    context: typer.Context, cluster: Cluster, pool: Pool, form: Form = Format.TABLE, column: Columns = None
) -> None:
    """Show a pool, with what the healer holds back and why."""
    row = desk_of(context).client.get(path_of("clusters", cluster, "pools", pool))
    show_object(_with_refusals(row), SHOWN, column, form)


@app.command("scale")
def scale(
    context: typer.Context,
    cluster: Cluster,
    pool: Pool,
    count: Annotated[int, typer.Argument(help="How many nodes it is to have.", show_default=False)],
    victim: Annotated[
        list[str] | None, typer.Option(help="A node that goes first when the pool shrinks; may be repeated.")
    ] = None,
    wait: Wait = True,
) -> None:
    """Give a pool another number of nodes."""
    desk = desk_of(context)
    change: dict[str, object] = {"count": count}
    if victim:
        change["victims"] = victim
    desk.follow(desk.client.patch(path_of("clusters", cluster, "pools", pool), change), wait=wait)


@app.command("create")
def create(
    context: typer.Context,
    cluster: Cluster,
    name: Annotated[str, typer.Argument(help="A DNS label, unique in the cluster.", show_default=False)],
    count: Annotated[int, typer.Option(help="Workers.")] = 1,
    flavor: machines.Flavor = None,
    image: machines.Image = None,
    node_spec: machines.NodeSpec = None,
    root_volume: machines.RootVolume = None,
    max_pods: machines.MaxPods = None,
    zone: Annotated[list[str] | None, typer.Option(help="An availability zone; may be repeated.")] = None,
    label: machines.Labels = None,
    taint: machines.Taints = None,
    wait: Wait = True,
) -> None:
    """Add a pool of workers."""
    desk = desk_of(context)
    request: dict[str, object] = {"name": name, "role": "worker", "count": count}
    request |= {"zones": zone} if zone else {}
    request |= machines.asked(
        flavor=flavor,
        image=image,
        node_spec=node_spec,
        root_volume=root_volume,
        max_pods=max_pods,
        labels=label,
        taints=taint,
    )
    desk.follow(desk.client.post(path_of("clusters", cluster, "pools"), request), wait=wait)


@app.command("set")
def set_(
    context: typer.Context,
    cluster: Cluster,
    pool: Pool,
    flavor: machines.Flavor = None,
    image: machines.Image = None,
    node_spec: machines.NodeSpec = None,
    root_volume: machines.RootVolume = None,
    max_pods: machines.MaxPods = None,
    label: machines.Labels = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Take all of the pool's labels off.")] = False,
    taint: machines.Taints = None,
    no_taints: Annotated[bool, typer.Option("--no-taints", help="Take all of the pool's taints off.")] = False,
    wait: Wait = True,
) -> None:
    """Change a pool: its labels or taints in place, each time as a whole; its machines by replacing node after node."""
    change = machines.asked(
        flavor=flavor,
        image=image,
        node_spec=node_spec,
        root_volume=root_volume,
        max_pods=max_pods,
        labels=label,
        taints=taint,
    )
    change |= ({"labels": {}} if no_labels else {}) | ({"taints": []} if no_taints else {})
    if not change:
        raise CommandFailed(Exit.USAGE, "Say what is to change; `slipway pool set --help` lists what can.")
    desk = desk_of(context)
    desk.follow(desk.client.patch(path_of("clusters", cluster, "pools", pool), change), wait=wait)


@app.command("delete")
def delete(context: typer.Context, cluster: Cluster, pool: Pool, wait: Wait = True) -> None:
    """Remove a pool of workers with its nodes."""
    desk = desk_of(context)
    desk.follow(desk.client.delete(path_of("clusters", cluster, "pools", pool)), wait=wait)
