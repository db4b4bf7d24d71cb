"""Spend as the REST API tells it: what is absent is null, and money is exact in nano-USD and in US dollars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from control_plane.amounts import usd_text
from control_plane.ledger.spend import SUMS, GroupBy, Question, Row, spent, with_key_names


def columns_of(group_by: Sequence[GroupBy]) -> list[str]:
    """The names of what a row has, in their order."""
    groups = [column for name in group_by for column in ([name, "name"] if name == "key" else [name])]
    return [*groups, "amount_nusd", "amount_usd", *SUMS[1:]]


def spend_rows(question: Question) -> Iterator[dict[str, Any]]:
    """The rows of the answer, in the order of the groups."""
    found = spent(question)
    columns = columns_of(question.group_by)
    for row in with_key_names(found) if "key" in question.group_by else found:
        told = {name: _told(row[name], question) for name in question.group_by}
        yield {name: (row | told | _amount(row)).get(name) for name in columns}


def _told(value: Any, question: Question) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(question.zone).isoformat()
    return value.isoformat() if isinstance(value, date) else value or None


def _amount(row: Row) -> Row:
    return {"amount_usd": usd_text(row["amount_nusd"])}
