"""Answers as CSV (RFC 4180), written as they are read, so that their length is no matter."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.http import StreamingHttpResponse

from control_plane.tables import Table

# What a spreadsheet takes for a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_ROWS_AT_ONCE: Final = 500


class _Line:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_response(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, file_name: str) -> StreamingHttpResponse:
    """A download of the rows under a line with the names of the columns; numbers stay as they are, text that a
    spreadsheet would run does not."""
    response = StreamingHttpResponse(_chunks(rows, columns), content_type="text/csv; charset=utf-8")
    response["content-disposition"] = f'attachment; filename="{file_name}"'
    return response


def table_response(table: Table, *, file_name: str) -> StreamingHttpResponse:
    """A download of all lines of a table that are asked for."""
    return csv_response(table.rows, [column.name for column in table.columns], file_name=file_name)


def _chunks(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    writer = csv.writer(_Line())
    lines = [writer.writerow(columns)]
    for row in rows:
        lines.append(writer.writerow([harmless(row[name]) for name in columns]))
        if len(lines) >= _ROWS_AT_ONCE:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)


def harmless(value: Any) -> Any:
    """A cell that no spreadsheet runs: text that looks like a formula and is no number gets an apostrophe in front."""
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"
