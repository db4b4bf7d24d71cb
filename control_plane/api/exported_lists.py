"""Lists of the admin as files: the rows that a list shows with the same query, from all of its pages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Final

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBadRequest, HttpResponseBase
from django.urls import path

from control_plane.administration import Row, ServiceAdmin
from control_plane.amounts import usd_text
from control_plane.api.csv_answers import csv_response

_AT_ONCE: Final = 2_000
_NUSD: Final = "_nusd"


class ExportingAdmin(ServiceAdmin[Row]):
    """Pages of a kind of row whose list can be downloaded; `exported` are its columns, those of related rows with two
    underscores. Beside an amount in nano-USD stands the same in US dollars."""

    exported: ClassVar[tuple[str, ...]]
    list_before_template = "admin/export.html"

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export.csv", self.admin_site.admin_view(self.export_view), name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            found = self.get_changelist_instance(request).get_queryset(request)
        except IncorrectLookupParameters:
            return HttpResponseBadRequest("The list knows no such filter.", content_type="text/plain")
        rows = found.values(*self.exported).iterator(chunk_size=_AT_ONCE)
        return csv_response(_told(rows), _columns(self.exported), file_name=f"{self.opts.model_name}.csv")


def _columns(names: Iterable[str]) -> list[str]:
    return [column for name in names for column in ([name, _in_usd(name)] if name.endswith(_NUSD) else [name])]


def _told(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        dollars = {
            _in_usd(name): None if value is None else usd_text(value)
            for name, value in row.items()
            if name.endswith(_NUSD)
        }
        lists = {name: " ".join(map(str, value)) for name, value in row.items() if isinstance(value, list)}
        yield row | dollars | lists


def _in_usd(name: str) -> str:
    return f"{name.removesuffix(_NUSD)}_usd"
