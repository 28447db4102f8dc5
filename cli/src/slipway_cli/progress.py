"""How an operation is shown: a live picture for people, plain lines for a pipe."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from slipway_cli.output import age, plain, styled_state

MOST_NODES = 30
"""Rows of the node table; a large pool is summed up below it."""
_MARKS = {"done": ("✓", "green"), "running": ("●", "cyan"), "waiting": ("…", "yellow"), "failed": ("✗", "red")}


def picture(operation: dict[str, Any], nodes: Sequence[dict[str, Any]], now: datetime) -> RenderableType:
    """The operation with its steps and the nodes that are on their way."""
    parts: list[RenderableType] = [_head(operation, now), *(_step(step) for step in operation["steps"])]
    if operation["cause"]:
        parts.append(_cause(operation["cause"]))
    if nodes:
        parts += [Text(), _node_table(nodes, now)]
    parts.append(Text("Ctrl-C detaches; the operation goes on.", style="dim"))
    return Group(*parts)


def _head(operation: dict[str, Any], now: datetime) -> RenderableType:
    row = Table.grid(padding=(0, 1))
    title = f"{operation['kind'].replace('_', ' ')} {operation['cluster']}"
    row.add_row(
        Text(title, style="bold"),
        ProgressBar(total=100, completed=operation["percent"], width=30),
        Text(f"{operation['percent']} %"),
        styled_state(operation["state"]),
        Text(age(operation["requested_at"], now), style="dim"),
    )
    return row


def _step(step: dict[str, Any]) -> RenderableType:
    mark, style = _MARKS.get(step["state"], ("·", "dim"))
    message = f"  {step['message']}" if step.get("message") else ""
    return Text.assemble((f" {mark} ", style), step["title"], (message, "dim"))


def _cause(cause: dict[str, Any]) -> RenderableType:
    mover = cause["whose_move"]
    whose = {"user": " Your move.", "operator": " The operator's move.", "cloud": " The cloud's move."}.get(mover, "")
    return Text(f" {cause['message']}{whose}", style="yellow")


def _node_table(nodes: Sequence[dict[str, Any]], now: datetime) -> RenderableType:
    # those that need a look come first; ready ones last
    ordered = sorted(nodes, key=lambda node: (node["state"] == "ready", node["state"] != "failed", node["name"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("NODE", "ROLE", "STATE", "STEP", "%", "AGE", "CAUSE"):
        table.add_column(title, no_wrap=title != "CAUSE")
    for node in ordered[:MOST_NODES]:
        table.add_row(
            node["name"],
            node["role"],
            styled_state(node["state"]),
            node["step"] or "",
            str(node["percent"]),
            age(node["created_at"], now),
            Text(plain(node["reason"]), style="yellow"),
        )
    left = len(ordered) - MOST_NODES
    return Group(table, Text(f"and {left} more", style="dim")) if left > 0 else table


def line(event: dict[str, Any], percent: int | None) -> str:
    """One event in one line."""
    at = datetime.fromisoformat(event["time"]).astimezone(UTC)
    progress = f" {percent:3d} %" if percent is not None else ""
    return f"{at:%H:%M:%S}{progress}  {event['message']}"


def outcome(operation: dict[str, Any]) -> str:
    """How the operation ended, in one sentence."""
    what = f"{operation['kind'].replace('_', ' ').capitalize()} {operation['cluster']}"
    cause = f": {operation['cause']['message']}" if operation["cause"] else ""
    took = ""
    if operation["finished_at"]:
        took = f" after {age(operation['requested_at'], datetime.fromisoformat(operation['finished_at']))}"
    return f"{what} {operation['state']}{took}{cause}"
