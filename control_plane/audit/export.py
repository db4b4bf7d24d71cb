"""The log as a download: CSV for spreadsheets, or JSON lines, of which each can be verified by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from control_plane.api.csv_answers import csv_response
from control_plane.audit.chain import content_of
from control_plane.audit.models import AuditEntry

Format = Literal["csv", "jsonl"]
COLUMNS: Final = tuple(field.attname for field in AuditEntry._meta.fields)
_AT_ONCE: Final = 2_000


def exported(entries: QuerySet[AuditEntry], form: Format) -> StreamingHttpResponse:
    """The entries in the order in which they were written, read as they are sent."""
    rows = _rows(entries.order_by("id"))
    if form == "csv":
        flat = (row | {name: _line(row[name]) for name in ("before", "after")} for row in rows)
        return csv_response(flat, COLUMNS, file_name="audit.csv")
    response = StreamingHttpResponse((_line(row) + "\n" for row in rows), content_type="application/jsonl")
    response["content-disposition"] = 'attachment; filename="audit.jsonl"'
    return response


def _rows(entries: QuerySet[AuditEntry]) -> Iterator[dict[str, Any]]:
    for entry in entries.iterator(chunk_size=_AT_ONCE):
        yield content_of(entry) | {"hash": entry.hash}


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
