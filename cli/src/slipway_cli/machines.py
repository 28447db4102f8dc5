"""What options say of a pool's machines, labels and taints."""

from typing import Annotated, Any

import typer

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")

Flavor = Annotated[str | None, typer.Option(help="Name or id.")]
Image = Annotated[str | None, typer.Option(help="Name or id.")]
NodeSpec = Annotated[
    str | None, typer.Option(help="NAME or NAME@VERSION, instead of flavor and image; see `slipway node-spec list`.")
]
RootVolume = Annotated[
    str | None, typer.Option(metavar="SIZE[:TYPE]", help="Boot from a volume of so many GiB and this type.")
]
MaxPods = Annotated[int | None, typer.Option(help="Pods on a node.")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="KEY=VALUE; may be repeated.")]
Taints = Annotated[list[str] | None, typer.Option("--taint", help="KEY[=VALUE]:EFFECT; may be repeated.")]


def asked(
    *,
    flavor: str | None,
    image: str | None,
    node_spec: str | None,
    root_volume: str | None,
    max_pods: int | None,
    labels: list[str] | None,
    taints: list[str] | None,
) -> dict[str, Any]:
    """The fields of a request for what was named."""
    fields = {
        "flavor": flavor,
        "image": image,
        "node_spec": node_spec,
        "root_volume": _volume(root_volume) if root_volume is not None else None,
        "kubelet": {"max_pods": max_pods} if max_pods is not None else None,
        "labels": dict(_label(each) for each in labels) if labels else None,
        "taints": [_taint(each) for each in taints] if taints else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _volume(text: str) -> dict[str, Any]:
    size, _, kind = text.partition(":")
    if not size.isdigit():
        raise typer.BadParameter(f"{text} is not SIZE[:TYPE], a size in GiB", param_hint="--root-volume")
    return {"size": int(size), **({"type": kind} if kind else {})}


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator:
        raise typer.BadParameter(f"{text} is not KEY=VALUE", param_hint="--label")
    return key, value


def _taint(text: str) -> dict[str, str]:
    place, _, effect = text.rpartition(":")
    key, _, value = place.partition("=")
    if not key or effect not in EFFECTS:
        raise typer.BadParameter(
            f"{text} is not KEY[=VALUE]:EFFECT with one of {', '.join(EFFECTS)}", param_hint="--taint"
        )
    return {"key": key, "value": value, "effect": effect}
