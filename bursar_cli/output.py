"""Rows as a table for people or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click

output_option = click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


def show(rows: Iterable[dict[str, Any]], columns: Sequence[str], output: str) -> None:
    rows = list(rows)
    if output == "json":
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    cells = [list(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
