"""One table a measurement: printed for people, and written as JSON for the next tool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path(__file__).parents[1] / ".run" / "results"


def publish(target: str, rows: Sequence[Mapping[str, Any]], *, shown: int | None = None) -> None:
    """Print the rows, all with the same columns, or the first `shown`; write all to `.run/results/<target>.json`.

    Raises:
        ValueError: there is no row; a suite that measured nothing has failed.
    """
    if not rows:
        raise ValueError(f"{target} has no results")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{target}.json").write_text(json.dumps([dict(row) for row in rows], indent=1) + "\n")
    print(_table(rows[:shown]))


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = list(rows[0])
    lines = [names, *([_text(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
