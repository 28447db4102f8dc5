"""What commands print: a table for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Mapping[str, Any]

STYLES = {"error": "red", "warning": "yellow"}


class Format(StrEnum):
    """The forms of output."""

    TABLE = "table"
    JSON = "json"


def console() -> Console:
    """A console on standard output; in a pipe nothing is cut and nothing is coloured."""
    width = None if sys.stdout.isatty() else 1000
    return Console(file=sys.stdout, width=width, highlight=False, emoji=False)


def print_json(value: Any) -> None:
    """For programs."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_rows(rows: Sequence[Row], columns: Sequence[str], form: Format) -> None:
    """A list."""
    if form is Format.JSON:
        print_json([dict(row) for row in rows])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    for row in rows:
        cells = [str(row.get(column) or "") for column in columns]
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in cells))
    console().print(table)
