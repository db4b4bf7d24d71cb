"""The ledger's SQL, which lies in `sql/*.sql`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of `sql/<name>.sql`; its header says what it takes and gives."""
    return files("control_plane.ledger").joinpath("sql", f"{name}.sql").read_text()
