"""What commands print: a table for people; json, yaml or plain values for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slipway_cli.errors import CommandFailed, Exit

Row = Mapping[str, Any]


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    VALUE = "value"


STATE_STYLES = {
    "ready": "green",
    "succeeded": "green",
    "installed": "green",
    "healthy": "green",
    "done": "green",
    "degraded": "red",
    "failed": "red",
    "unhealthy": "red",
    "blocked": "yellow",
    "unknown": "yellow",
    "deleted": "dim",
    "pending": "dim",
}


def console_of(stream: Any = None, *, stderr: bool = False) -> Console:
    """A console on the current standard output or error; in a pipe nothing is cut and nothing is coloured."""
    target = stream or (sys.stderr if stderr else sys.stdout)
    width = None if target.isatty() else 1000
    return Console(file=target, width=width, highlight=False, emoji=False)


def print_list(rows: Sequence[Row], shown: Sequence[str], chosen: Sequence[str], form: Format) -> None:
    """A list of objects. `shown` are the columns of the table, `chosen` those that the user named."""
    columns = _columns(rows[0] if rows else {}, shown, chosen)
    if form is Format.JSON:
        _print_json([_pick(row, chosen) for row in rows])
    elif form is Format.YAML:
        _print_yaml([_pick(row, chosen) for row in rows])
    elif form is Format.VALUE:
        for row in rows:
            sys.stdout.write(" ".join(plain(row.get(column)) for column in columns) + "\n")
    else:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column.replace("_", " ").upper(), overflow="fold")
        for row in rows:
            table.add_row(*(_styled(column, row.get(column)) for column in columns))
        console_of().print(table)


def print_object(row: Row, shown: Sequence[str], chosen: Sequence[str], form: Format) -> None:
    """One object."""
    columns = _columns(row, shown, chosen)
    if form is Format.JSON:
        _print_json(_pick(row, chosen))
    elif form is Format.YAML:
        _print_yaml(_pick(row, chosen))
    elif form is Format.VALUE:
        for column in columns:
            sys.stdout.write(plain(row.get(column)) + "\n")
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for column in columns:
            table.add_row(column.replace("_", " "), _styled(column, row.get(column)))
        console_of().print(table)


def plain(value: Any) -> str:
    """A value in one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping) and {"code", "message"} <= set(value):
        return str(value["message"])
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(item) for item in value)
    return str(value)


def age(since: str | None, now: datetime | None = None) -> str:
    """How long ago, in one short word: 42s, 3m10s, 2h5m, 4d."""
    if since is None:
        return ""
    passed = int(((now or datetime.now(UTC)) - datetime.fromisoformat(since)).total_seconds())
    seconds = max(passed, 0)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60}s"
    if seconds < 86400:
        return f"{seconds // 3600}h{seconds % 3600 // 60}m"
    return f"{seconds // 86400}d"


def styled_state(state: str) -> Text:
    """The word in its colour."""
    return Text(state, style=STATE_STYLES.get(state, "cyan"))


def _styled(column: str, value: Any) -> Text:
    if column == "state":
        return styled_state(plain(value))
    return Text(plain(value))


def _columns(row: Row, shown: Sequence[str], chosen: Sequence[str]) -> Sequence[str]:
    if not chosen:
        return shown
    known = set(row) | set(shown)
    for column in chosen:
        if row and column not in known:
            raise CommandFailed(Exit.USAGE, f"There is no column {column}; there are: {', '.join(sorted(known))}.")
    return chosen


def _pick(row: Row, chosen: Sequence[str]) -> Row:
    return {column: row.get(column) for column in _columns(row, (), chosen)} if chosen else row


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_yaml(value: Any) -> None:
    sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
