"""Tables of home pages as files."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponseBase
from django.utils import timezone

from control_plane.api.csv_answers import table_response
from control_plane.dashboard.home import PAGES, organization_of, pages_for
from control_plane.dashboard.requests import request_tables
from control_plane.dashboard.view import View
from control_plane.rights.person import person_of
from control_plane.tables import Table


def home_table(request: HttpRequest, page: str, table: str) -> HttpResponseBase:
    """A table of a home page as CSV: its lines with the same query, from all of its pages.

    Raises:
        Http404: there is no such table for who asks.
    """
    person = person_of(request.user)
    organization, _ = organization_of(request, person)
    if organization is None:
        raise Http404
    view = View(person=person, organization=organization, asked=request.GET, now=timezone.now())
    found = next((each for each in _tables(view, page) if each.name == table), None)
    if found is None:
        raise Http404
    return table_response(found, file_name=f"{page}-{table}.csv")


def _tables(view: View, page: str) -> list[Table]:
    names = pages_for(view.person, view.organization)
    if page == "requests" and names:
        return request_tables(view)
    tables: list[Table] = PAGES[page].content(view).get("tables", []) if page in names else []
    return tables
